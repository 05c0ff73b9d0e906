//! Unpacks a `newc` cpio archive as the kernel does.

use std::fs::{self, DirBuilder, Metadata, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::process::umask;

const HEADER: usize = 110;
const MAGIC: &[u8] = b"070701";
const END: &str = "TRAILER!!!";

/// Unpacks the archive to `/`, and replaces existing files.
pub(crate) fn unpack(archive: &[u8]) -> Result<()> {
    // Create each file with its final permissions.
    let before = umask(Mode::empty());
    let unpacked = unpack_below(archive, Path::new("/"));
    umask(before);
    unpacked
}

fn unpack_below(archive: &[u8], root: &Path) -> Result<()> {
    let mut rest = archive;
    loop {
        let (entry, next) = Entry::parse(rest).context("the initramfs archive is damaged")?;
        if entry.name == END {
            return Ok(());
        }
        let path = root.join(entry.name.trim_start_matches('/'));
        entry
            .create(&path)
            .with_context(|| format!("cannot unpack {}", path.display()))?;
        rest = next;
    }
}

struct Entry<'a> {
    mode: u32,
    device: (u32, u32),
    name: &'a str,
    content: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Parses the first entry. Returns it and the rest of the archive.
    fn parse(archive: &'a [u8]) -> Result<(Self, &'a [u8])> {
        let header = archive.get(..HEADER).context("it ends inside a header")?;
        ensure!(header.starts_with(MAGIC), "a header has the wrong magic");
        let field = |number: usize| -> Result<u32> {
            let at = MAGIC.len() + 8 * number;
            let text = std::str::from_utf8(&header[at..at + 8])?;
            Ok(u32::from_str_radix(text, 16)?)
        };
        let (name_end, size) = (HEADER + field(11)? as usize, field(6)? as usize);
        let start = name_end.next_multiple_of(4);
        let name = archive
            .get(HEADER..name_end)
            .context("it ends inside a name")?;
        let content = archive
            .get(start..start + size)
            .context("it ends inside a file")?;
        let entry = Self {
            mode: field(1)?,
            device: (field(9)?, field(10)?),
            name: std::str::from_utf8(name)?.trim_end_matches('\0'),
            content,
        };
        let next = (start + size).next_multiple_of(4);
        Ok((entry, archive.get(next..).unwrap_or_default()))
    }

    /// Whether the same directory or device node exists already.
    fn exists_already(&self, path: &Path) -> bool {
        let same = |there: &Metadata| match FileType::from_raw_mode(self.mode) {
            FileType::Directory => true,
            FileType::CharacterDevice | FileType::BlockDevice => {
                there.rdev() == makedev(self.device.0, self.device.1)
            }
            _ => false,
        };
        fs::symlink_metadata(path).is_ok_and(|there| there.mode() == self.mode && same(&there))
    }

    fn create(&self, path: &Path) -> Result<()> {
        if self.exists_already(path) {
            return Ok(());
        }
        let permissions = self.mode & 0o7777;
        let kind = FileType::from_raw_mode(self.mode);
        if kind == FileType::Directory {
            return match DirBuilder::new().mode(permissions).create(path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    let permissions = Permissions::from_mode(permissions);
                    Ok(fs::set_permissions(path, permissions)?)
                }
                made => Ok(made?),
            };
        }
        // This may unlink the running executable; it runs on.
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        match kind {
            FileType::RegularFile => {
                let mut options = OpenOptions::new();
                let mut file = options
                    .write(true)
                    .create_new(true)
                    .mode(permissions)
                    .open(path)?;
                file.write_all(self.content)?;
            }
            FileType::Symlink => symlink(PathBuf::from(std::str::from_utf8(self.content)?), path)?,
            FileType::CharacterDevice | FileType::BlockDevice => {
                let device = makedev(self.device.0, self.device.1);
                mknodat(CWD, path, kind, Mode::from_raw_mode(permissions), device)?;
            }
            other => bail!("unsupported file type {other:?}"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(mode: u32, name: &str, content: &str) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let size = content.len();
        let fields = [
            0,
            mode as usize,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            0,
            0,
            name.len() + 1,
            0,
        ];
        for field in fields {
            bytes.extend(format!("{field:08X}").bytes());
        }
        for part in [format!("{name}\0"), content.to_owned()] {
            bytes.extend(part.bytes());
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    fn dir(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        dir
    }

    #[test]
    fn unpacking_replaces_existing_files() {
        let dir = dir("unpack");
        fs::write(dir.join("init"), "the old one").unwrap();
        let archive = [
            entry(0o040_755, "folder", ""),
            entry(0o100_755, "init", "odd"),
            entry(0o100_600, "folder/file", "four"),
            entry(0o120_777, "link", "init"),
            entry(0, END, ""),
        ];
        unpack_below(&archive.concat(), &dir).unwrap();
        assert_eq!(fs::read(dir.join("link")).unwrap(), b"odd");
        assert_eq!(fs::read(dir.join("folder/file")).unwrap(), b"four");
        let mode = |name: &str| fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(
            [mode("init"), mode("folder/file"), mode("folder")],
            [0o755, 0o600, 0o755]
        );
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn only_an_identical_device_is_kept() {
        let null = fs::metadata("/dev/null").unwrap().mode();
        for (mode, device, there) in [
            (null, (1, 3), true),
            (null, (1, 5), false),
            (null ^ 0o111, (1, 3), false),
            (0o100_666, (1, 3), false),
        ] {
            let (name, content) = ("", [].as_slice());
            let entry = Entry {
                mode,
                device,
                name,
                content,
            };
            assert_eq!(entry.exists_already(Path::new("/dev/null")), there);
        }
    }

    #[test]
    fn truncated_archive_is_an_error() {
        let dir = dir("damaged");
        let archive = [entry(0o100_644, "file", "content"), entry(0, END, "")].concat();
        for length in 0..archive.len() - 3 {
            let error = unpack_below(&archive[..length], &dir)
                .unwrap_err()
                .to_string();
            assert!(error.contains("damaged"), "{length}: {error}");
        }
        fs::remove_dir_all(dir).unwrap();
    }
}
