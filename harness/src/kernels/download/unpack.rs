//! Unpacks the files that the harness needs from a package or an archive.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::kernels::files::manifest::{self, Record};
use crate::support::hex::hex;

/// The type of a file in its mode, and a regular one (inode(7)).
const FILE_TYPE: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;

/// Unpacks image, configuration and modules into `dir`: `vmlinuz`, `config` and `lib/modules/RELEASE/`.
///
/// Reads a Debian or an RPM package, an archive of `make tar-pkg`, or a bare image. Leaves out other files (documentation, hooks,
/// links into a build tree).
pub(crate) fn unpack(file: &Path, dir: &Path) -> Result<Vec<Record>> {
    let (mut reader, format) = open(file)?;
    match format {
        Format::Deb => unpack_deb(reader, dir),
        Format::Rpm => unpack_rpm(reader, dir),
        Format::Image => Ok(vec![write(&mut reader, dir, Path::new("vmlinuz"))?]),
        Format::Tar(compression) => unpack_tar(decompress(reader, compression)?, dir),
    }
}

/// The bytes of a tar archive in any compression format.
pub(crate) fn open_tar(file: &Path) -> Result<Box<dyn Read>> {
    match open(file)? {
        (reader, Format::Tar(compression)) => decompress(reader, compression),
        _ => bail!("{} is not a tar archive", file.display()),
    }
}

fn open(file: &Path) -> Result<(File, Format)> {
    let mut reader = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut start = Vec::new();
    Read::by_ref(&mut reader)
        .take(512)
        .read_to_end(&mut start)?;
    reader.rewind()?;
    Ok((reader, Format::of(&start)))
}

enum Format {
    Deb,
    Rpm,
    Image,
    /// With the suffix of its compression format.
    Tar(&'static str),
}

impl Format {
    /// Detects the format from the contents: a URL need not end in a file name.
    fn of(start: &[u8]) -> Self {
        match start {
            [b'!', b'<', b'a', b'r', b'c', b'h', b'>', b'\n', ..] => Self::Deb,
            [0xed, 0xab, 0xee, 0xdb, ..] => Self::Rpm,
            _ if !compression(start).is_empty() => Self::Tar(compression(start)),
            _ if start.get(257..262) == Some(b"ustar") => Self::Tar(""),
            _ => Self::Image,
        }
    }
}

/// The suffix of the compression format that data has which begins so; empty if it is none of them.
fn compression(start: &[u8]) -> &'static str {
    match start {
        [0xfd, b'7', b'z', b'X', b'Z', ..] => ".xz",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => ".zst",
        [0x1f, 0x8b, ..] => ".gz",
        _ => "",
    }
}

/// Uncompresses data in any of the known formats.
pub(crate) fn uncompressed<'a>(mut reader: impl BufRead + 'a) -> Result<Box<dyn Read + 'a>> {
    let format = compression(reader.fill_buf()?);
    decompress(reader, format)
}

fn unpack_rpm(reader: File, dir: &Path) -> Result<Vec<Record>> {
    let mut reader = BufReader::new(reader);
    // The payload is behind it.
    rpm::PackageMetadata::parse(&mut reader).context("the RPM package is damaged")?;
    let mut payload = uncompressed(reader)?;
    let mut records = Vec::new();
    loop {
        let mut entry = cpio::newc::Reader::new(payload)
            .context("the payload of the RPM package is damaged")?;
        if entry.entry().is_trailer() {
            return Ok(records);
        }
        let is_file = entry.entry().mode() & FILE_TYPE == REGULAR;
        if let Some(target) = target(Path::new(entry.entry().name())).filter(|_| is_file) {
            keep(&mut entry, dir, &target, &mut records)?;
        }
        payload = entry.finish()?;
    }
}

fn unpack_deb(reader: File, dir: &Path) -> Result<Vec<Record>> {
    let mut archive = ar::Archive::new(BufReader::new(reader));
    while let Some(member) = archive.next_entry() {
        let member = member.context("the Debian package is damaged")?;
        let id = String::from_utf8_lossy(member.header().identifier()).into_owned();
        if let Some(compression) = id.trim_end_matches('/').strip_prefix("data.tar") {
            return unpack_tar(decompress(member, compression)?, dir);
        }
    }
    bail!("the Debian package contains no data")
}

fn decompress<'a>(reader: impl Read + 'a, suffix: &str) -> Result<Box<dyn Read + 'a>> {
    Ok(match suffix {
        "" => Box::new(reader),
        ".xz" => Box::new(liblzma::read::XzDecoder::new_multi_decoder(reader)),
        ".zst" => Box::new(zstd::Decoder::new(reader)?),
        ".gz" => Box::new(flate2::read::MultiGzDecoder::new(reader)),
        _ => bail!("its compression format is not supported: data.tar{suffix}"),
    })
}

fn unpack_tar(reader: impl Read, dir: &Path) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for entry in tar::Archive::new(reader).entries()? {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path()?.into_owned();
        let Some(target) = target(&path) else {
            continue;
        };
        keep(&mut entry, dir, &target, &mut records)?;
    }
    Ok(records)
}

/// The path to unpack a file of the package to; `None` to leave it out.
pub(crate) fn target(path: &Path) -> Option<PathBuf> {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::CurDir => {}
            // A path outside of the folder.
            _ => return None,
        }
    }
    // With or without a merged /usr.
    let parts = parts.strip_prefix(&["usr"]).unwrap_or(&parts);
    match parts {
        ["boot", name] if *name == "vmlinuz" || name.starts_with("vmlinuz-") => {
            Some("vmlinuz".into())
        }
        ["boot", name] if *name == "config" || name.starts_with("config-") => Some("config".into()),
        ["lib", "modules", _, "vmlinuz"] => Some("vmlinuz".into()),
        ["lib", "modules", _, "config"] => Some("config".into()),
        ["lib", "modules", _, _, ..] => Some(parts.iter().collect()),
        _ => None,
    }
}

/// Writes a file of a package. A package may have its image twice, below `/boot` and `/lib/modules`, if both are the same.
fn keep(entry: &mut impl Read, dir: &Path, target: &Path, records: &mut Vec<Record>) -> Result<()> {
    let earlier = records
        .iter()
        .find(|record| Path::new(&record.path) == target);
    let Some(earlier) = earlier else {
        records.push(write(entry, dir, target)?);
        return Ok(());
    };
    let mut hash = Hashing::new(io::sink());
    io::copy(entry, &mut hash).with_context(|| format!("cannot read {}", target.display()))?;
    if hex(&hash.hash.finalize()) != earlier.sha256 {
        bail!(
            "the package has two files for {}, which differ",
            target.display()
        );
    }
    Ok(())
}

pub(crate) fn write(entry: &mut impl Read, dir: &Path, target: &Path) -> Result<Record> {
    let path = dir.join(target);
    let context = || format!("cannot write {}", path.display());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(context)?;
    }
    // No package replaces a file of another package.
    let mut out = Hashing::new(File::create_new(&path).with_context(context)?);
    let size = io::copy(entry, &mut out).with_context(context)?;
    let metadata = out.file.metadata().with_context(context)?;
    Ok(Record {
        path: target.to_string_lossy().into_owned(),
        size,
        mtime: manifest::mtime(&metadata),
        sha256: hex(&out.hash.finalize()),
    })
}

struct Hashing<W> {
    file: W,
    hash: Sha256,
}

impl<W> Hashing<W> {
    fn new(file: W) -> Self {
        let hash = Sha256::new();
        Self { file, hash }
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let n = self.file.write(buffer)?;
        self.hash.update(&buffer[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_may_be_in_a_package_twice_if_both_are_the_same() {
        let package = |second: &str| {
            let mut tar = tar::Builder::new(Vec::new());
            for (path, content) in [
                ("boot/vmlinuz-6.1", "image"),
                ("lib/modules/6.1/vmlinuz", second),
            ] {
                let mut header = tar::Header::new_gnu();
                header.set_size(content.len() as u64);
                tar.append_data(&mut header, path, content.as_bytes())
                    .unwrap();
            }
            let (bytes, dir) = (tar.into_inner().unwrap(), tempfile::tempdir().unwrap());
            let records = unpack_tar(&bytes[..], dir.path())?;
            let image = fs::read_to_string(dir.path().join("vmlinuz")).unwrap();
            Ok::<_, anyhow::Error>((records.len(), image))
        };
        assert_eq!(package("image").unwrap(), (1, "image".to_owned()));
        let error = package("other").unwrap_err().to_string();
        assert_eq!(error, "the package has two files for vmlinuz, which differ");
    }

    #[test]
    fn selects_the_files_to_keep() {
        let cases = [
            ("./boot/vmlinuz-5.10.0-46-cloud-amd64", Some("vmlinuz")),
            ("./boot/config-5.10.0-46-cloud-amd64", Some("config")),
            ("boot/vmlinuz", Some("vmlinuz")),
            ("./boot/System.map-5.10.0-46-cloud-amd64", None),
            ("./usr/lib/modules/7.3.4/vmlinuz", Some("vmlinuz")),
            ("./usr/lib/modules/7.3.4/config", Some("config")),
            (
                "usr/lib/modules/7.3.4/kernel/net/veth.ko.xz",
                Some("lib/modules/7.3.4/kernel/net/veth.ko.xz"),
            ),
            (
                "./lib/modules/6.1/modules.builtin",
                Some("lib/modules/6.1/modules.builtin"),
            ),
            ("./lib/modules/6.1", None),
            ("./usr/share/doc/vmlinuz-1", None),
            ("./boot/../etc/vmlinuz-1", None),
            ("/boot/vmlinuz-1", None),
            ("./lib/modules/6.1/../../../../etc/passwd", None),
        ];
        for (path, expected) in cases {
            assert_eq!(
                target(Path::new(path)),
                expected.map(PathBuf::from),
                "{path}"
            );
        }
    }
}
