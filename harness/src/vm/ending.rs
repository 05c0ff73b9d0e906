//! How a VM ended.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use super::console::Console;

/// How a VM ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The guest said that it was done.
    Done,
    /// The kernel panicked; if the last event was `done`, on its way out.
    KernelPanic {
        /// What panic() was given.
        message: String,
    },
    /// The guest switched off or rebooted before it was done.
    EndedEarly,
    /// It was still running at its time limit.
    TimedOut {
        /// The limit.
        wall: Duration,
    },
    /// Nothing came out of it for too long.
    Silent {
        /// The limit.
        silence: Duration,
    },
    /// The kernel reported a stall, or one fault after the other, and the guest did nothing more.
    KernelHung {
        /// The kernel's words.
        message: String,
    },
    /// What it was doing took longer than whoever watched it allows.
    Overdue {
        /// What took how long.
        what: String,
    },
    /// The event channel carried more than any guest has to say.
    Flooded {
        /// Bytes read from it.
        bytes: u64,
    },
    /// QEMU did not start the VM, or ended otherwise than by the guest's will.
    QemuFailed {
        /// How QEMU ended.
        status: ExitStatus,
        /// The end of what it said.
        stderr: String,
    },
    /// The harness could not follow it to its end, as when the disk is full that should take what is kept.
    Lost {
        /// What went wrong.
        reason: String,
    },
    /// Somebody asked for a stop.
    Interrupted,
}

/// All that is left of a VM.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub ending: Ending,
    /// Its console.
    pub console: Console,
    /// The end of what QEMU itself said.
    pub stderr: String,
    /// Lines on the event channel that were no events.
    pub garbage: u64,
    /// From start to end.
    pub elapsed: Duration,
    /// The command that repeats it by hand; with [`super::Config::keep`] its files exist.
    pub command: String,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::KernelPanic { message } => write!(f, "the kernel panicked: {message}"),
            Self::EndedEarly => f.write_str("the guest switched off before it was done"),
            Self::TimedOut { wall } => {
                write!(f, "still running after {}", Seconds(*wall))
            }
            Self::Silent { silence } => {
                write!(f, "not a sign of life for {}", Seconds(*silence))
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
