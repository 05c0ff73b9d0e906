//! Running `make` in a kernel tree.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::group::Group;
use super::log;
use crate::support::interrupt::INTERRUPTED;
use crate::support::progress::Progress;
use crate::support::stop::Stop;

/// How often to check whether `make` has ended or a stop was requested.
const TICK: Duration = Duration::from_millis(100);

/// Variables of the user's environment that would change the kernel.
const REMOVED: [&str; 11] = [
    "ARCH",
    "CROSS_COMPILE",
    "KBUILD_OUTPUT",
    "KCONFIG_CONFIG",
    "KCONFIG_ALLCONFIG",
    "LOCALVERSION",
    "MAKEFLAGS",
    "MAKELEVEL",
    "MFLAGS",
    "O",
    "V",
];

/// A source tree, and how to build it.
pub(super) struct Make<'a> {
    pub(super) tree: &'a Path,
    pub(super) out: &'a Path,
    /// As `WERROR=0`.
    pub(super) variables: Vec<String>,
    /// The file for the output of `make`.
    pub(super) log: &'a Path,
    pub(super) stop: &'a Stop,
    pub(super) progress: &'a dyn Progress,
}

impl Make<'_> {
    /// Builds these targets, with `more` variables.
    pub(super) fn run(&self, targets: &[&str], more: &[String]) -> Result<()> {
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log)
            .with_context(|| format!("cannot write {}", self.log.display()))?;
        let before = output.metadata().map_or(0, |metadata| metadata.len());
        let mut command = self.command(targets, more);
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        // Dropped last: kills the processes that still run.
        let group = Group::new().context("cannot start sh")?;
        let mut make = group.spawn(&mut command).context("cannot start make")?;
        let status = self.wait(&mut make)?;
        if status.success() {
            return Ok(());
        }
        bail!(
            "`make {}` failed ({status}); the log is {}; {}",
            targets.join(" "),
            self.log.display(),
            log::summary(&from(self.log, before))
        )
    }

    fn command(&self, targets: &[&str], more: &[String]) -> Command {
        let mut command = Command::new("make");
        for name in REMOVED {
            command.env_remove(name);
        }
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("CARGO") {
                command.env_remove(name);
            }
        }
        command
            .env("LC_ALL", "C")
            .arg("-C")
            .arg(self.tree)
            .arg(format!("O={}", self.out.display()))
            .arg("ARCH=x86_64")
            .args(&self.variables)
            .args(more)
            .args(targets);
        command
    }

    fn wait(&self, make: &mut Child) -> Result<ExitStatus> {
        let mut log = File::open(self.log)?;
        log.seek(SeekFrom::End(0))?;
        let mut steps = 0;
        loop {
            if let Some(status) = make.try_wait()? {
                return Ok(status);
            }
            if self.stop.requested() {
                bail!(INTERRUPTED);
            }
            sleep(TICK);
            let mut new = Vec::new();
            log.read_to_end(&mut new)?;
            steps += new.iter().filter(|&&byte| byte == b'\n').count();
            if let Some(line) = String::from_utf8_lossy(&new).lines().last() {
                self.progress.step(&format!("{steps} steps,{line}"));
            }
        }
    }
}

/// The log after this offset.
fn from(log: &Path, offset: u64) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let offset = usize::try_from(offset).unwrap_or(0).min(bytes.len());
    String::from_utf8_lossy(&bytes[offset..]).into_owned()
}
