//! What `--keep` leaves behind: enough to see what happened, and to repeat it by hand.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

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
}

impl Keep {
    /// Makes `dir` and writes what is known before the start: the initramfs and `run.sh`.
    pub(super) fn new(dir: &Path, qemu: &Qemu, config: &Config<'_>) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let dir = dir
            .canonicalize()
            .with_context(|| format!("cannot find {}", dir.display()))?;
        let initramfs = dir.join(INITRAMFS);
        write(&initramfs, config.initramfs)?;
        let script = dir.join("run.sh");
        write(
            &script,
            format!("#!/bin/sh\n{}", by_hand(qemu, config, &initramfs)).as_bytes(),
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
        Ok(Self { path, file })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all(bytes)
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}

const INITRAMFS: &str = "initramfs.cpio";

/// The command that repeats a run: the console on stdout, the events on stderr.
pub(super) fn by_hand(qemu: &Qemu, config: &Config<'_>, initramfs: &Path) -> String {
    let paths = Paths {
        initramfs,
        console: Path::new("/dev/stdout"),
        events: Path::new("/dev/stderr"),
    };
    shell_line(&qemu.path, &arguments(config, &paths))
}

/// The same where nothing was kept: the initramfs is only named.
pub(super) fn by_hand_if_kept(qemu: &Qemu, config: &Config<'_>) -> String {
    let dir = config.keep.unwrap_or(Path::new(""));
    by_hand(qemu, config, &dir.join(INITRAMFS))
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}
