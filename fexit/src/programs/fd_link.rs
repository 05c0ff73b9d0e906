//! aya's types for links, for programs that were written for aya.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use super::info::LinkInfo;
use super::link::{LinkError, LinkId, PinnedLink, TracingLink};
use crate::error::ProgramError;

/// A link. Only this library's links implement it.
pub trait Link: sealed::Sealed {
    /// The type of its id.
    type Id: std::fmt::Debug + Eq + std::hash::Hash;

    /// Its id, which no other link of this process ever has.
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
    impl Sealed for super::TracingLink {}
    impl Sealed for super::FdLink {}
}

impl Link for TracingLink {
    type Id = LinkId;

    fn id(&self) -> LinkId {
        Self::id(self)
    }

    fn detach(self) -> Result<(), ProgramError> {
        drop(self);
        Ok(())
    }
}

impl Link for FdLink {
    type Id = LinkId;

    fn id(&self) -> LinkId {
        self.0.id()
    }

    fn detach(self) -> Result<(), ProgramError> {
        drop(self);
        Ok(())
    }
}

/// A [`TracingLink`] that [`pin`](Self::pin) consumes. Minimum kernel 5.7.
#[derive(Debug)]
#[must_use = "dropping a link detaches the program"]
pub struct FdLink(TracingLink);

impl FdLink {
    /// Pins the link, as [`TracingLink::pin`]; on failure it is detached.
    ///
    /// # Errors
    ///
    /// Those of [`TracingLink::pin`].
    pub fn pin<P: AsRef<Path>>(self, path: P) -> Result<PinnedLink, LinkError> {
        self.0.pin(path)
    }

    /// What the kernel knows of the link.
    ///
    /// # Errors
    ///
    /// Those of [`TracingLink::info`].
    pub fn info(&self) -> Result<LinkInfo, LinkError> {
        self.0.info()
    }
}

impl AsFd for FdLink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<TracingLink> for FdLink {
    fn from(link: TracingLink) -> Self {
        Self(link)
    }
}

impl From<FdLink> for TracingLink {
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
