//! The two ways in which the harness itself, not a scenario, can fail. Each has its exit status.

use std::fmt;

/// Marks an error as the user's to mend: exit status 2.
///
/// Any other error that reaches `main` is infrastructure (a download, QEMU, a full disk): exit status 3.
#[derive(Debug)]
pub struct UsageError(pub String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// An [`anyhow::Error`] that [`exit_code`] knows as wrong usage.
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(UsageError(message.into()))
}

/// The exit status for an error that reached `main`.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    if error.downcast_ref::<UsageError>().is_some() {
        2
    } else {
        3
    }
}
