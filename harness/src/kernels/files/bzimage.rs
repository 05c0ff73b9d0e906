//! The release and version in a kernel image.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::kernels::version;

/// Offsets in the setup header of a bzImage (the kernel's documentation: x86/boot).
const MAGIC: u64 = 0x202;
const VERSION_POINTER: u64 = 0x20e;
const SETUP: u64 = 0x200;

/// The text before the release in the banner of an uncompressed kernel.
const BANNER: &[u8] = b"Linux version ";

/// The longest banner.
const TEXT: usize = 512;

/// The kernel in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// `uname -r`.
    pub(crate) release: String,
    /// The upstream version.
    pub(crate) version: String,
}

/// Reads a bzImage, or an uncompressed `vmlinux`.
pub(crate) fn identify(path: &Path) -> Result<Identity> {
    let name = path.display();
    let mut file = File::open(path).with_context(|| format!("cannot read {name}"))?;
    let text = banner(&mut file).with_context(|| format!("cannot read {name}"))?;
    match text {
        None => bail!("{name} is not an x86 kernel image: neither a bzImage nor a vmlinux"),
        Some(text) => parse(&text).with_context(|| format!("{name} contains no release")),
    }
}

/// The text that begins with the release; `None` if this is not a kernel.
fn banner(file: &mut File) -> io::Result<Option<Vec<u8>>> {
    let mut magic = [0; 4];
    if read_at(file, MAGIC, &mut magic)? == 4 && &magic == b"HdrS" {
        let mut pointer = [0; 2];
        read_at(file, VERSION_POINTER, &mut pointer)?;
        let mut text = vec![0; TEXT];
        let n = read_at(
            file,
            SETUP + u64::from(u16::from_le_bytes(pointer)),
            &mut text,
        )?;
        text.truncate(n);
        return Ok(Some(text));
    }
    if read_at(file, 0, &mut magic)? == 4 && &magic == b"\x7fELF" {
        return Ok(Some(search(file)?.unwrap_or_default()));
    }
    Ok(None)
}

/// Searches the banner in chunks: a `vmlinux` with debugging symbols has hundreds of megabytes.
fn search(file: &mut File) -> io::Result<Option<Vec<u8>>> {
    let mut buffer = Vec::new();
    let mut offset = 0;
    loop {
        buffer.resize(1 << 20, 0);
        let n = read_at(file, offset, &mut buffer)?;
        buffer.truncate(n);
        for (at, window) in buffer.windows(BANNER.len() + 1).enumerate() {
            // Format strings contain the same text without a number.
            if window.starts_with(BANNER) && window[BANNER.len()].is_ascii_digit() {
                let mut text = vec![0; TEXT];
                let n = read_at(file, offset + (at + BANNER.len()) as u64, &mut text)?;
                text.truncate(n);
                return Ok(Some(text));
            }
        }
        if n <= BANNER.len() {
            return Ok(None);
        }
        offset += (n - BANNER.len()) as u64;
    }
}

fn parse(text: &[u8]) -> Option<Identity> {
    let text = std::str::from_utf8(text.split(|&b| b == 0 || b == b'\n').next()?).ok()?;
    let release = text.split(' ').next()?;
    if !release.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    // Debian's release is 5.10.0 where the upstream version is 5.10.262.
    let debian = text
        .split_once(" Debian ")
        .and_then(|(_, rest)| rest.split(' ').next());
    let version = debian.map_or_else(|| numeric(release), version::upstream);
    Some(Identity {
        release: release.to_owned(),
        version: version.to_owned(),
    })
}

/// `5.15.100` of `5.15.100-0515100-generic`.
fn numeric(release: &str) -> &str {
    let end = release.find(|c: char| !c.is_ascii_digit() && c != '.');
    release[..end.unwrap_or(release.len())].trim_end_matches('.')
}

/// Reads up to the end of the file.
fn read_at(file: &mut File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    file.seek(SeekFrom::Start(offset))?;
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(bytes: &[u8]) -> Result<(String, String)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        std::fs::write(&path, bytes).unwrap();
        identify(&path).map(|identity| (identity.release, identity.version))
    }

    fn bz_image(text: &str) -> Vec<u8> {
        let mut image = vec![0; 0x1000];
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x20e..0x210].copy_from_slice(&0x300u16.to_le_bytes());
        image[0x500..0x500 + text.len()].copy_from_slice(text.as_bytes());
        image
    }

    fn vm_linux(at: usize, text: &str) -> Vec<u8> {
        let mut image = b"\x7fELF".to_vec();
        image.extend(b"Linux version %s (%s)\0");
        image.resize(at, 0);
        image.extend(text.as_bytes());
        image.resize(at + 5000, 0);
        image
    }

    #[test]
    fn release_and_version() {
        for (text, release, version) in [
            (
                "5.10.0-46-cloud-amd64 (debian-kernel@lists.debian.org) #1 SMP Debian 5.10.262-1 (2026-07-31)",
                "5.10.0-46-cloud-amd64",
                "5.10.262",
            ),
            (
                "5.15.100-0515100-generic (kernel@sita) #1 SMP",
                "5.15.100-0515100-generic",
                "5.15.100",
            ),
            ("6.6.0-rc1+ (me@here)", "6.6.0-rc1+", "6.6.0"),
            ("7.3.4", "7.3.4", "7.3.4"),
        ] {
            let expected = (release.to_owned(), version.to_owned());
            assert_eq!(identity(&bz_image(text)).unwrap(), expected);
            let banner = format!("Linux version {text}\n");
            // At the start, and across the end of the first chunk.
            for at in [100, (1 << 20) - 20, (1 << 20) - 5, 3 << 20] {
                assert_eq!(identity(&vm_linux(at, &banner)).unwrap(), expected, "{at}");
            }
        }
    }

    #[test]
    fn file_without_a_kernel_is_refused_by_name() {
        for (bytes, message) in [
            (&b""[..], "not an x86 kernel image"),
            (&[0; 0x1000], "not an x86 kernel image"),
            (b"\x7fELF and nothing else", "contains no release"),
            (&bz_image("\u{1}\u{2}"), "contains no release"),
            (&bz_image("x")[..0x210], "contains no release"),
        ] {
            let error = identity(bytes).unwrap_err().to_string();
            assert!(error.contains(message), "{error} should say {message}");
        }
    }
}
