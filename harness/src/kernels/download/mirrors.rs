//! The same file at several addresses: the first that has a good one wins.

use anyhow::Error;

use super::http::HttpError;
use crate::support::progress::Notes;

/// No address had it.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {}", reasons.join("; "))]
pub(crate) struct AllFailed {
    what: String,
    reasons: Vec<String>,
    pub(crate) why: Why,
    /// It came, but could not be written.
    pub(crate) disk: bool,
}

/// What the failures have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Every server is sure that there is no such file.
    Gone,
    /// Some server, or the way to it, failed.
    Unreachable,
    /// Something arrived that was not what it should be, or it could not be kept.
    Wrong,
}

/// Tries one address after the other. Failures before a success are worth a note.
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
                // As the reasons of one server are often those of the next.
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

impl Why {
    fn worse(self, error: &Error) -> Self {
        match (self, error.downcast_ref()) {
            (Self::Wrong, _) => Self::Wrong,
            (same, Some(HttpError::NotFound { .. })) => same,
            (_, Some(HttpError::Failed { .. })) => Self::Unreachable,
            _ => Self::Wrong,
        }
    }
}
