//! The result of a program in a VM, and the exit status for it.

use anyhow::{Result, anyhow};
use protocol::event::Exit;

use super::{
    relay::Closed,
    status::{BY_SIGNAL, FAILED, SIGPIPE, TIMED_OUT},
};
use crate::{
    support::{error::report, interrupt::Interrupt, sanitize::one_line},
    vm::{Ending, Finished, Severity},
};

/// The number of console lines that are shown after a failure of the VM.
const CONSOLE_TAIL: usize = 20;

/// The result.
pub(super) struct Ran {
    pub(super) finished: Finished,
    /// Whether the program was started.
    pub(super) began: bool,
    pub(super) exit: Option<Exit>,
    /// Whether Ctrl-A X was typed.
    pub(super) left: bool,
    pub(super) output: Result<()>,
    /// Errors of copies out of the VM.
    pub(super) not_copied: Vec<String>,
}

impl Ran {
    /// Prints errors and splats, and returns the exit status, `left` after Ctrl-A X. What could not be copied out of the VM
    /// does not hide that the program failed.
    pub(super) fn report(mut self, interrupt: &Interrupt, left: u8) -> Result<u8> {
        let not_copied = std::mem::take(&mut self.not_copied);
        let status = self.status(interrupt, left)?;
        for why in &not_copied {
            report(why);
        }
        match not_copied.as_slice() {
            [_, ..] if status == 0 => Ok(FAILED),
            _ => Ok(status),
        }
    }

    fn status(self, interrupt: &Interrupt, left: u8) -> Result<u8> {
        if let Some(status) = interrupt.exit_code() {
            return Ok(status);
        }
        if self.left {
            return Ok(left);
        }
        match self.output {
            Err(error) if error.is::<Closed>() => return Ok(BY_SIGNAL + SIGPIPE),
            output => output?,
        }
        for splat in self.finished.console.splats() {
            if splat.severity != Severity::Panic {
                eprintln!("harness: the kernel reported: {}", one_line(&splat.message));
            }
        }
        match (self.exit, &self.finished.ending) {
            (Some(Exit::Code(status)), _) => Ok(status),
            (Some(Exit::Signal(signal)), _) => {
                eprintln!("harness: the program was ended by signal {signal}");
                Ok(BY_SIGNAL.saturating_add(signal))
            }
            (None, Ending::TimedOut { .. }) => {
                report(format_args!("the program was {}", self.finished.ending));
                Ok(TIMED_OUT)
            }
            (None, ending) => {
                for line in self.finished.console.last_lines(CONSOLE_TAIL) {
                    eprintln!("harness: console: {}", one_line(&line));
                }
                Err(anyhow!("{ending}, before the program ended"))
            }
        }
    }
}
