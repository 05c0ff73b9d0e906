//! The files of `--keep`: what happened in a VM, and a script that repeats the run.
//!
//! Only the owner can read them: the initramfs contains the program's environment, and the output may contain secrets.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{self, Path, PathBuf};

use anyhow::{Context, Result};

use super::command::{Paths, arguments};
use super::config::Config;
use super::qemu::Qemu;
use super::shell_line::shell_line;

/// The files of one run, written while it runs, so that they are complete however it ends.
#[derive(Debug)]
pub(super) struct Keep {
    console: Output,
    events: Output,
}

#[derive(Debug)]
struct Output {
    path: PathBuf,
    file: File,
    /// The remaining bytes; `None` after the limit was exceeded.
    room: Option<usize>,
}

/// The limit for the output of a guest on the disk.
const ROOM: usize = 64 << 20;
const FULL: &[u8] = b"\n[... the rest is left out: more than 64 MiB ...]\n";

impl Keep {
    /// Creates `dir`, and writes the initramfs and `run.sh`.
    pub(super) fn new(dir: &Path, qemu: &Qemu, config: &Config<'_>) -> Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .with_context(|| format!("cannot make {}", dir.display()))?;
        write(&dir.join(INITRAMFS), 0o600, config.initramfs)?;
        let script = format!("#!/bin/sh\n{}\n", by_hand(qemu, config));
        write(&dir.join("run.sh"), 0o700, script.as_bytes())?;
        Ok(Self {
            console: Output::new(dir.join("console.log"))?,
            events: Output::new(dir.join("events.jsonl"))?,
        })
    }

    pub(super) fn console(&mut self, bytes: &[u8]) -> Result<()> {
        self.console.write(bytes)
    }

    pub(super) fn events(&mut self, bytes: &[u8]) -> Result<()> {
        self.events.write(bytes)
    }
}

impl Output {
    fn new(path: PathBuf) -> Result<Self> {
        let file = create(&path, 0o600)?;
        Ok(Self {
            path,
            file,
            room: Some(ROOM),
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(room) = self.room else {
            return Ok(());
        };
        self.room = room.checked_sub(bytes.len());
        let (bytes, end) = match self.room {
            Some(_) => (bytes, &[][..]),
            None => (&bytes[..room], FULL),
        };
        self.file
            .write_all(bytes)
            .and_then(|()| self.file.write_all(end))
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}

const INITRAMFS: &str = "initramfs.cpio";

/// The command that repeats a run from any folder: the console on stdout, the events on stderr. The VM boots, also if the
/// run restored a template. Without `--keep` the initramfs in it does not exist.
pub(super) fn by_hand(qemu: &Qemu, config: &Config<'_>) -> String {
    let initramfs = config
        .keep
        .map_or_else(|| INITRAMFS.into(), |dir| absolute(&dir.join(INITRAMFS)));
    let kernel = absolute(config.kernel);
    let config = Config {
        kernel: &kernel,
        // The ends of the streams do not exist any more.
        streams: None,
        gdb: None,
        mounts: Vec::new(),
        ..config.clone()
    };
    let paths = Paths {
        initramfs: &initramfs,
        console: Path::new("/dev/stdout"),
        events: Path::new("/dev/stderr"),
        role: None,
    };
    let own = qemu.sandbox().chain(arguments(&config, &paths));
    shell_line(&qemu.path, &own.collect::<Vec<_>>())
}

/// The absolute path, or the path itself if there is no current folder.
fn absolute(path: &Path) -> PathBuf {
    path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn write(path: &Path, mode: u32, content: &[u8]) -> Result<()> {
    create(path, mode)?
        .write_all(content)
        .with_context(|| format!("cannot write {}", path.display()))
}

/// A new file with this mode. Replaces an existing file, which others may be able to read, but writes to a device or
/// pipe.
fn create(path: &Path, mode: u32) -> Result<File> {
    let mut options = OpenOptions::new();
    options.write(true);
    let opened = match fs::metadata(path) {
        Ok(there) if !there.is_file() => options.open(path),
        _ => match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => options.create_new(true).mode(mode).open(path),
        },
    };
    opened.with_context(|| format!("cannot create {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn kept_files_are_private_and_replace_old_ones() {
        let dir = tempfile::tempdir().unwrap();
        let (kept, elsewhere) = (dir.path().join("kept"), dir.path().join("elsewhere"));
        fs::write(&elsewhere, "another file").unwrap();
        let set_ups: [&dyn Fn(); 3] = [
            &|| (),
            &|| fs::write(&kept, "readable by all").unwrap(),
            &|| {
                fs::remove_file(&kept).unwrap();
                std::os::unix::fs::symlink(&elsewhere, &kept).unwrap();
            },
        ];
        for set_up in set_ups {
            set_up();
            create(&kept, 0o600).unwrap().write_all(b"secret").unwrap();
            let metadata = fs::symlink_metadata(&kept).unwrap();
            assert!(metadata.is_file());
            assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
            fs::set_permissions(&kept, fs::Permissions::from_mode(0o644)).unwrap();
        }
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "another file");
    }

    #[test]
    fn files_beyond_the_limit_are_truncated_with_one_note() {
        let dir = tempfile::tempdir().unwrap();
        let mut output = Output::new(dir.path().join("log")).unwrap();
        output.room = Some(10);
        for bytes in [&b"12345"[..], b"67890", b"", b"more", b"and more"] {
            output.write(bytes).unwrap();
        }
        let kept = fs::read(&output.path).unwrap();
        assert_eq!(kept, [b"1234567890", FULL].concat());
    }
}
