//! Processes that end together, and with the harness, however it ends.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

/// Kills its own group as soon as its stdin ends, which the system sees to when the harness dies.
const WATCHDOG: &str = "read -r _; kill -KILL 0";

/// A group of processes: `make` has children that have children. All are killed when it is dropped.
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
            // Not the harness's own, so that Ctrl-C reaches only the harness, which then decides.
            .process_group(0)
            .spawn()?;
        Ok(Self { watchdog })
    }

    /// Starts a program in this group.
    pub(super) fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        // A group is called by the number of its first process.
        command
            .process_group(Pid::from_child(&self.watchdog).as_raw_nonzero().get())
            .spawn()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Not yet waited for, so the number still is this group's.
        let _ = kill_process_group(Pid::from_child(&self.watchdog), Signal::KILL);
        let _ = self.watchdog.wait();
    }
}
