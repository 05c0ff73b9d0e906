//! What can go wrong with links.

use std::io;
use std::path::PathBuf;

use super::hints::pin_hint;
use crate::feature::Unsupported;
use crate::programs::PinnedLink;

/// Why a link could not be pinned, found or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The link could not be pinned, or nothing could be opened under that name.
    #[error("link at {}: {error}{}", path.display(), pin_hint(error))]
    Pin {
        /// The name.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },

    /// The pin could not be removed; the link is as it was.
    #[error("the pin at {} stays: {error}", pinned.path().display())]
    Unpin {
        /// The link, to try again or to keep.
        pinned: Box<PinnedLink>,
        /// Why.
        error: io::Error,
    },

    /// What is pinned there is no fexit link.
    #[error("{} holds {found}, not an fexit link", path.display())]
    WrongObject {
        /// The name.
        path: PathBuf,
        /// What is there.
        found: String,
    },

    /// The running kernel lacks a feature.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),

    /// Another call failed.
    #[error("`{call}` failed: {error}")]
    SyscallError {
        /// The call.
        call: &'static str,
        /// What it returned.
        error: io::Error,
    },
}

impl LinkError {
    /// The refusal in it, if the running kernel lacks a feature.
    pub fn unsupported(&self) -> Option<&Unsupported> {
        match self {
            Self::Unsupported(refusal) => Some(refusal),
            _ => None,
        }
    }
}
