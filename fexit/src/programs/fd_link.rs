//! Links as aya has them, for programs that were written for it.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use super::fexit_link::{FExitLink, FExitLinkId, LinkError, PinnedLink};
use super::info::LinkInfo;
use crate::error::ProgramError;

/// What can be detached. Only this library's links implement it.
pub trait Link: sealed::Sealed {
    /// What names a link.
    type Id: std::fmt::Debug + Eq + std::hash::Hash;

    /// Its name; no other link of this process ever has the same.
    fn id(&self) -> Self::Id;

    /// Detaches, as dropping does.
    ///
    /// # Errors
    ///
    /// None for the links of this library.
    fn detach(self) -> Result<(), ProgramError>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::FExitLink {}
    impl Sealed for super::FdLink {}
}

impl Link for FExitLink {
    type Id = FExitLinkId;

    fn id(&self) -> FExitLinkId {
        Self::id(self)
    }

    fn detach(self) -> Result<(), ProgramError> {
        drop(self);
        Ok(())
    }
}

impl Link for FdLink {
    type Id = FExitLinkId;

    fn id(&self) -> FExitLinkId {
        self.0.id()
    }

    fn detach(self) -> Result<(), ProgramError> {
        drop(self);
        Ok(())
    }
}

/// An [`FExitLink`] that pinning uses up. Minimum kernel 5.7.
#[derive(Debug)]
#[must_use = "dropping a link detaches the program"]
pub struct FdLink(FExitLink);

impl FdLink {
    /// Pins the link, as [`FExitLink::pin`]; when that fails it is detached.
    ///
    /// # Errors
    ///
    /// Those of [`FExitLink::pin`].
    pub fn pin<P: AsRef<Path>>(self, path: P) -> Result<PinnedLink, LinkError> {
        self.0.pin(path)
    }

    /// What the kernel knows of the link.
    ///
    /// # Errors
    ///
    /// Those of [`FExitLink::info`].
    pub fn info(&self) -> Result<LinkInfo, LinkError> {
        self.0.info()
    }
}

impl AsFd for FdLink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<FExitLink> for FdLink {
    fn from(link: FExitLink) -> Self {
        Self(link)
    }
}

impl From<FdLink> for FExitLink {
    fn from(link: FdLink) -> Self {
        link.0
    }
}

impl From<PinnedLink> for FdLink {
    /// The link; the pin stays.
    fn from(pinned: PinnedLink) -> Self {
        Self(pinned.into())
    }
}
