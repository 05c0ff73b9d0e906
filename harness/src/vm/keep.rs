//! What `--keep` leaves behind: enough to see what happened, and to repeat it by hand.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{self, Path, PathBuf};

use anyhow::{Context, Result};

use super::Config;
use super::command::{Paths, arguments, shell_line};
use super::qemu::Qemu;

/// The files of one run, written as it goes, so that nothing is lost however it ends.
#[derive(Debug)]
pub(super) struct Keep {
    console: Output,
    events: Output,
}

#[derive(Debug)]
struct Output {
    path: PathBuf,
    file: File,
    /// Bytes that it may still take; none once it had to leave something out.
    room: Option<usize>,
}

/// What a guest sends can have any length, but on the disk it stays below this.
const ROOM: usize = 64 << 20;
const FULL: &[u8] = b"\n[... the rest is left out: more than 64 MiB ...]\n";

impl Keep {
    /// Makes `dir` and writes what is known before the start: the initramfs and `run.sh`.
    pub(super) fn new(dir: &Path, qemu: &Qemu, config: &Config<'_>) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        write(&dir.join(INITRAMFS), config.initramfs)?;
        let script = dir.join("run.sh");
        write(
            &script,
            format!("#!/bin/sh\n{}\n", by_hand(qemu, config)).as_bytes(),
        )?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("cannot make {} executable", script.display()))?;
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
        let file =
            File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
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

/// The command that repeats a run, from any directory: the console on stdout, the events on stderr. Where
/// nothing is kept the initramfs is only named. It boots, also if the run itself started from a template.
pub(super) fn by_hand(qemu: &Qemu, config: &Config<'_>) -> String {
    let initramfs = config
        .keep
        .map_or_else(|| INITRAMFS.into(), |dir| absolute(&dir.join(INITRAMFS)));
    let kernel = absolute(config.kernel);
    let config = Config {
        kernel: &kernel,
        // By hand a program's output has nowhere to go to.
        streams: None,
        ..config.clone()
    };
    let paths = Paths {
        initramfs: &initramfs,
        console: Path::new("/dev/stdout"),
        events: Path::new("/dev/stderr"),
        role: None,
    };
    shell_line(&qemu.path, &arguments(&config, &paths))
}

/// Without a current directory the path has to do as it is.
fn absolute(path: &Path) -> PathBuf {
    path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_is_left_out_and_said_so_once() {
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
