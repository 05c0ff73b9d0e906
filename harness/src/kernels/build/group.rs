//! Processes that end together, and with the harness, also after SIGKILL.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

/// Kills its own group when its stdin ends: the system closes it when the harness dies.
const WATCHDOG: &str = "read -r _; kill -KILL 0";

/// A process group, for `make` and its descendants. Dropping it kills them all.
#[derive(Debug)]
pub(super) struct Group {
    watchdog: Child,
}

impl Group {
    pub(super) fn new() -> io::Result<Self> {
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A group of its own: Ctrl-C reaches only the harness, which then ends the build.
            .process_group(0)
            .spawn()?;
        Ok(Self { watchdog })
    }

    /// Starts a program in this group.
    pub(super) fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        // The id of a group is that of its first process.
        command
            .process_group(Pid::from_child(&self.watchdog).as_raw_nonzero().get())
            .spawn()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The id cannot be reused before the `wait` below.
        let _ = kill_process_group(Pid::from_child(&self.watchdog), Signal::KILL);
        let _ = self.watchdog.wait();
    }
}
