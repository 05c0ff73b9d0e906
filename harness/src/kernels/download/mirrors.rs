//! Mirrors: downloads a file from the first one that has it.

use anyhow::Error;

use super::attempt::HttpError;
use crate::support::progress::Notes;

/// No mirror has the file.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {}", reasons.join("; "))]
pub(crate) struct AllFailed {
    what: String,
    reasons: Vec<String>,
    pub(crate) why: Why,
    /// A file could not be written.
    pub(crate) disk: bool,
}

/// What the failures mean together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// No server has such a file.
    Gone,
    /// No server gives it; perhaps none has it.
    Forbidden,
    /// A server or the network failed.
    Unreachable,
    /// A response was refused, or a file could not be written.
    Wrong,
}

/// Tries the URLs in order. Notes the failures before a success.
pub(crate) fn first_good<T>(
    what: &str,
    bases: &[String],
    notes: &Notes<'_>,
    mut attempt: impl FnMut(&str) -> Result<T, Error>,
) -> Result<T, AllFailed> {
    let mut reasons = Vec::new();
    let (mut why, mut disk) = (Why::Gone, false);
    for base in bases {
        match attempt(base.trim_end_matches('/')) {
            Ok(value) => {
                for reason in reasons {
                    notes.add(format!("skipped {reason}"));
                }
                return Ok(value);
            }
            Err(error) => {
                why = why.worse(&error);
                // The next server often fails for the same reason.
                let reason = format!("{error:#}");
                if !reasons.contains(&reason) {
                    reasons.push(reason);
                }
                disk = matches!(error.downcast_ref(), Some(HttpError::Disk { .. }));
                if disk {
                    break;
                }
            }
        }
    }
    Err(AllFailed {
        what: what.to_owned(),
        reasons,
        why,
        disk,
    })
}

/// Whether no mirror has answered.
pub(crate) fn is_unreachable(error: &Error) -> bool {
    error
        .downcast_ref::<AllFailed>()
        .is_some_and(|failed| matches!(failed.why, Why::Unreachable | Why::Forbidden))
}

impl Why {
    fn worse(self, error: &Error) -> Self {
        match (self, error.downcast_ref()) {
            (Self::Wrong, _) => Self::Wrong,
            (same, Some(HttpError::NotFound { .. })) => same,
            (Self::Gone | Self::Forbidden, Some(HttpError::Forbidden { .. })) => Self::Forbidden,
            (_, Some(HttpError::Failed { .. } | HttpError::Forbidden { .. })) => Self::Unreachable,
            _ => Self::Wrong,
        }
    }
}
