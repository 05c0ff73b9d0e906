//! The architecture, release and version of the kernel in an image.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek};
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::format::{Format, read_at};
use super::payload::Payload;
use crate::kernels::arch::Arch;
use crate::kernels::version;

/// Offsets in the setup header of a bzImage (the kernel's documentation: x86/boot).
const VERSION_POINTER: u64 = 0x20e;
const SETUP: u64 = 0x200;

/// The text before the release in the banner of an uncompressed kernel.
const BANNER: &[u8] = b"Linux version ";

/// The longest banner.
const TEXT: usize = 512;

/// The kernel in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) arch: Arch,
    /// `uname -r`.
    pub(crate) release: String,
    /// The upstream version.
    pub(crate) version: String,
}

/// Identifies the kernel of an image in any [`Format`].
pub(crate) fn identify(path: &Path) -> Result<Identity> {
    let name = path.display();
    let mut file = File::open(path).with_context(|| format!("cannot read {name}"))?;
    let format = Format::read(&mut file).with_context(|| format!("cannot read {name}"))?;
    let Some(format) = format else {
        bail!("{name} is not a kernel image: neither a bzImage, a vmlinux, nor an Image of arm64");
    };
    let (arch, text) = banner(&mut file, format).with_context(|| format!("cannot read {name}"))?;
    parse(&text, arch).with_context(|| format!("{name} contains no release"))
}

/// The architecture, and the text that begins with the release.
fn banner(file: &mut File, format: Format) -> Result<(Arch, Vec<u8>)> {
    Ok(match format {
        Format::BzImage => {
            let mut pointer = [0; 2];
            read_at(file, VERSION_POINTER, &mut pointer)?;
            let mut text = vec![0; TEXT];
            let n = read_at(
                file,
                SETUP + u64::from(u16::from_le_bytes(pointer)),
                &mut text,
            )?;
            text.truncate(n);
            (Arch::X86_64, text)
        }
        Format::Elf(arch) => (arch, search(file)?.unwrap_or_default()),
        Format::Image => (Arch::Arm64, search(file)?.unwrap_or_default()),
        Format::Gzip | Format::Zboot => {
            let payload = Payload::find(file)?.context("it is not compressed")?;
            let image = payload.unpack(file)?;
            if Format::of(&image) != Some(Format::Image) {
                bail!("it does not unpack to an Image of arm64");
            }
            let text = search(&mut Cursor::new(image))?;
            (Arch::Arm64, text.unwrap_or_default())
        }
    })
}

/// Searches the banner in chunks: a `vmlinux` with debugging symbols has hundreds of megabytes.
fn search<R: Read + Seek>(file: &mut R) -> io::Result<Option<Vec<u8>>> {
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

fn parse(text: &[u8], arch: Arch) -> Option<Identity> {
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
        arch,
        release: release.to_owned(),
        version: version.to_owned(),
    })
}

/// `5.15.100` of `5.15.100-0515100-generic`.
fn numeric(release: &str) -> &str {
    let end = release.find(|c: char| !c.is_ascii_digit() && c != '.');
    release[..end.unwrap_or(release.len())].trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity_of(bytes: &[u8]) -> Result<Identity> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        std::fs::write(&path, bytes).unwrap();
        identify(&path)
    }

    fn identity(bytes: &[u8]) -> Result<(String, String)> {
        identity_of(bytes).map(|identity| (identity.release, identity.version))
    }

    /// An Image of arm64.
    fn image(text: &str) -> Vec<u8> {
        let mut image = vm_linux(0x5000, text);
        image[..4].fill(0);
        image[0x38..0x3c].copy_from_slice(b"ARM\x64");
        image
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        use std::io::Write as _;
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    }

    /// An image that an EFI firmware unpacks, whose payload ends with its unpacked size or is followed by it.
    fn zboot(payload: &[u8], more: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 0x1000];
        image[..8].copy_from_slice(b"MZ\0\0zimg");
        image[8..12].copy_from_slice(&0x1000u32.to_le_bytes());
        image[12..16].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
        [&image, payload, more].concat()
    }

    #[test]
    fn arm64_kernels_are_recognized_compressed_or_not() {
        let plain =
            image("Linux version 6.12.118+deb13-cloud-arm64 (x) Debian 6.12.118-1 (2026)\n");
        let size = u32::try_from(plain.len()).unwrap().to_le_bytes();
        let zstd = zstd::encode_all(&*plain, 1).unwrap();
        for bytes in [
            &plain,
            &gzip(&plain),
            &zboot(&gzip(&plain), b"more"),
            &zboot(&zstd, &size),
        ] {
            let identity = identity_of(bytes).unwrap();
            assert_eq!(identity.arch, Arch::Arm64);
            assert_eq!(identity.version, "6.12.118");
        }
        let mut elf = vm_linux(100, "Linux version 6.1.0\n");
        assert_eq!(identity_of(&elf).unwrap().arch, Arch::X86_64);
        elf[18..20].copy_from_slice(&[183, 0]);
        assert_eq!(identity_of(&elf).unwrap().arch, Arch::Arm64);
        for (bytes, why) in [
            (gzip(b"a text"), "does not unpack to an Image"),
            (zboot(&zstd, &[0; 4]), "unpacks to"),
            (gzip(&plain)[..200].to_vec(), "cannot read"),
        ] {
            let error = format!("{:#}", identity_of(&bytes).unwrap_err());
            assert!(error.contains(why), "{error} should say {why}");
        }
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
            (&b""[..], "not a kernel image"),
            (&[0; 0x1000], "not a kernel image"),
            (b"\x7fELF and nothing else", "contains no release"),
            (&bz_image("\u{1}\u{2}"), "contains no release"),
            (&bz_image("x")[..0x210], "contains no release"),
        ] {
            let error = identity(bytes).unwrap_err().to_string();
            assert!(error.contains(message), "{error} should say {message}");
        }
    }
}
