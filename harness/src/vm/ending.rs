//! How a VM ended.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use super::console::Console;

/// How a VM ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The guest reported `done`.
    Done,
    /// The kernel panicked; if the last event was `done`, during shutdown.
    KernelPanic {
        /// The message of panic().
        message: String,
    },
    /// The guest powered off or rebooted before `done`.
    EndedEarly,
    /// It was still running at its time limit.
    TimedOut {
        /// The limit.
        limit: Duration,
    },
    /// It printed nothing for too long.
    IdleTimeout {
        /// The limit.
        limit: Duration,
    },
    /// The kernel reported a stall, or fault after fault, and no event followed.
    KernelHung {
        /// The kernel's message.
        message: String,
    },
    /// A scenario or program exceeded the time limit of the observer.
    Overdue {
        /// Which, and its time limit.
        what: String,
    },
    /// The event channel carried more bytes than allowed.
    Flooded {
        /// Bytes read from it.
        bytes: u64,
    },
    /// QEMU did not start the VM, or ended although the guest did not power off.
    QemuFailed {
        /// How QEMU ended.
        status: ExitStatus,
        /// The end of its stderr.
        stderr: String,
    },
    /// The harness could not follow the VM, for example because the disk for `--keep` is full.
    Lost {
        /// What went wrong.
        reason: String,
    },
    /// A stop was requested.
    Interrupted,
}

/// The result of a VM that ended.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub ending: Ending,
    /// Its console.
    pub console: Console,
    /// The end of QEMU's stderr.
    pub stderr: String,
    /// Lines on the event channel that are not events.
    pub garbage: u64,
    /// The time from start to end.
    pub elapsed: Duration,
    /// The command that repeats the run; with [`crate::vm::Config::keep`] its files exist.
    pub command: String,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::KernelPanic { message } => write!(f, "the kernel panicked: {message}"),
            Self::EndedEarly => f.write_str("the guest switched off before it was done"),
            Self::TimedOut { limit } => {
                write!(f, "still running after {}", Seconds(*limit))
            }
            Self::IdleTimeout { limit } => {
                write!(f, "no output for {}", Seconds(*limit))
            }
            Self::KernelHung { message } => write!(f, "the kernel hung: {message}"),
            Self::Overdue { what } => f.write_str(what),
            Self::Flooded { bytes } => {
                write!(f, "the guest flooded the event channel: {bytes} bytes")
            }
            Self::QemuFailed { status, stderr } => {
                match status.signal() {
                    Some(libc::SIGKILL) => {
                        f.write_str("QEMU was killed (SIGKILL); did the host run out of memory?")?;
                    }
                    _ => write!(f, "QEMU failed, {status}")?,
                }
                let stderr = stderr.trim();
                if stderr.is_empty() {
                    Ok(())
                } else {
                    write!(f, ": {stderr}")
                }
            }
            Self::Lost { reason } => f.write_str(reason),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0.as_secs_f64())
    }
}
