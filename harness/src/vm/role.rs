//! Saving a VM and restoring it: which of the two, and the files that QEMU inherits for it.

use std::os::fd::OwnedFd;

/// What a VM does with a template. A VM that only boots has no role.
#[derive(Debug)]
pub(super) enum Role {
    /// It boots and is saved.
    Saved(Parts),
    /// It continues from the saved state.
    Restored(Parts),
}

/// The files of a template, open, for QEMU to inherit.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) ram: OwnedFd,
    pub(super) window: OwnedFd,
    pub(super) window_bytes: u64,
    pub(super) monitor: OwnedFd,
    /// The state to start from.
    pub(super) state: Option<OwnedFd>,
}

impl Role {
    pub(super) fn parts(&self) -> &Parts {
        match self {
            Self::Saved(parts) | Self::Restored(parts) => parts,
        }
    }

    /// The window, which the harness empties later.
    pub(super) fn into_window(self) -> OwnedFd {
        match self {
            Self::Saved(parts) | Self::Restored(parts) => parts.window,
        }
    }

    /// QEMU does not save shared memory with the state. It reads private memory when needed, and never writes it back.
    pub(super) fn share(&self) -> &'static str {
        if self.is_restored() {
            "share=off"
        } else {
            "share=on"
        }
    }

    pub(super) fn is_restored(&self) -> bool {
        matches!(self, Self::Restored(_))
    }
}

impl Parts {
    pub(super) fn fds(&self) -> impl Iterator<Item = &OwnedFd> {
        [&self.ram, &self.window, &self.monitor]
            .into_iter()
            .chain(&self.state)
    }
}
