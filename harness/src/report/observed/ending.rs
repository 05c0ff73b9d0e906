//! How a VM ended, and what it printed before.

use protocol::event::Outcome;

/// How a VM ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The guest reported `done`.
    Done,
    /// The guest ended early or flooded the channel, as the text says.
    Broke(String),
    /// The kernel panicked with this message.
    Panicked(String),
    /// A limit was reached or the kernel hung, as the text says.
    TimedOut(String),
    /// The infrastructure failed: QEMU did not start or died, the disk is full, the user interrupted.
    Infra(String),
}

impl Ending {
    /// The outcome and error of what ran when the VM ended.
    pub(super) fn outcome(&self) -> (Outcome, String) {
        match self {
            Self::Panicked(message) => {
                (Outcome::Panicked, format!("the kernel panicked: {message}"))
            }
            Self::TimedOut(limit) => (Outcome::TimedOut, limit.clone()),
            Self::Done => (
                Outcome::Failed,
                "it was unfinished when the guest was done".to_owned(),
            ),
            Self::Broke(how) => (Outcome::Failed, how.clone()),
            Self::Infra(reason) => (Outcome::Skipped, format!("cut off: {reason}")),
        }
    }
}

/// What the console printed while the last scenarios or the last program ran.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsoleExcerpt {
    /// The kernel's warnings and oopses.
    pub splats: Option<String>,
    /// The last lines.
    pub tail: Vec<String>,
}

impl ConsoleExcerpt {
    /// Appends the last lines to an error if there are no splats, which are reported separately.
    pub(super) fn append_to(&self, error: String) -> String {
        if self.splats.is_some() || self.tail.is_empty() {
            return error;
        }
        format!(
            "{error}\nThe last lines of the console:\n{}",
            self.tail.join("\n")
        )
    }
}
