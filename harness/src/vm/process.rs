//! A child process that cannot outlive the harness.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::sys;

/// A running child; killed when dropped, and when the thread that spawned it ends.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    exited: OwnedFd,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts `command`, which inherits `fds` under the same numbers.
    pub(super) fn spawn(mut command: Command, fds: &[RawFd]) -> io::Result<Self> {
        // A group of its own: Ctrl-C reaches only the harness, which then ends the VM.
        command.process_group(0);
        sys::tie_to_this_thread(&mut command, fds);
        let mut child = command.spawn()?;
        match pidfd_open(pid(&child), PidfdFlags::empty()) {
            Ok(exited) => Ok(Self {
                child,
                exited,
                status: None,
            }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error.into())
            }
        }
    }

    /// Becomes readable when the process ends.
    pub(super) fn exited(&self) -> BorrowedFd<'_> {
        self.exited.as_fd()
    }

    /// The child's stdout, once, if it is a pipe.
    pub(super) fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// The child's stderr, once, if it is a pipe.
    pub(super) fn stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Waits at most `limit` for the end of the process; whether it ended.
    pub(super) fn wait(&self, limit: Duration) -> io::Result<bool> {
        let mut fds = [PollFd::from_borrowed_fd(self.exited(), PollFlags::IN)];
        let ready = retry_on_intr(|| poll(&mut fds, Timespec::try_from(limit).ok().as_ref()))?;
        Ok(ready > 0)
    }

    /// Kills the process and its group, and returns how it ended.
    pub(super) fn end(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        // The id cannot be reused before the `wait` below. It fails only if the group is empty.
        let _ = kill_process_group(pid(&self.child), Signal::KILL);
        let status = self.child.wait()?;
        self.status = Some(status);
        Ok(status)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}
