//! Errors of the harness itself: wrong usage and infrastructure, with their exit statuses.

use std::fmt;

use anstyle::{AnsiColor, Style};

use super::sanitize::plain;

/// An error in the usage: exit status 2.
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

/// A usage error as an [`anyhow::Error`].
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(UsageError(message.into()))
}

/// The exit status for an error in `main`.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    if error.downcast_ref::<UsageError>().is_some() {
        2
    } else {
        3
    }
}

/// Prints an error on stderr, as the parser of the command line prints its own.
pub fn report(error: impl fmt::Display) {
    const RED: Style = AnsiColor::Red.on_default().bold();
    let text = format!("{error:#}");
    anstream::eprintln!("{RED}error:{RED:#} {}", plain(&text));
}
