//! Links: they own attachments, and end them when dropped.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::info::LinkInfo;
use super::pin::{self, Pin};
use crate::error::{ProgramError, pin_hint};
use crate::feature::{Feature, Unsupported};

/// Why a link could not be pinned, opened or queried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The link could not be pinned, or no link could be opened at that path.
    #[error("link at {}: {error}{}", path.display(), pin_hint(error))]
    Pin {
        /// The name.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },

    /// The pin could not be removed; the link is unchanged.
    #[error("the pin at {} stays: {error}", pinned.path().display())]
    Unpin {
        /// The link, to try again or to keep.
        pinned: Box<PinnedLink>,
        /// Why.
        error: io::Error,
    },

    /// Another object is pinned there, not a link of a program that this library attaches.
    #[error("{} holds {found}, not an fexit link or another that this library makes", path.display())]
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

/// The id of one attachment. No other attachment of this process ever has the same id.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct LinkId(u64);

/// An attachment whose link may be owned by the caller.
#[derive(Debug, Default)]
pub(super) struct Attachment {
    /// Its descriptor was handed to the caller.
    given_away: AtomicBool,
    pins: Mutex<Vec<Pin>>,
}

impl Attachment {
    /// Whether it may outlive its [`TracingLink`].
    pub(super) fn may_live(&self) -> bool {
        self.given_away.load(Ordering::Relaxed)
            || self.with_pins(|pins| pins.iter().any(Pin::is_there))
    }

    fn with_pins<T>(&self, work: impl FnOnce(&mut Vec<Pin>) -> T) -> T {
        work(&mut self.pins.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One attachment. The program runs until this is dropped, see [`FExit::detach`](super::FExit::detach).
///
/// The links of all program types have this type; [`FExitLink`](super::FExitLink) and others are aliases.
///
/// It outlives the program's `unload` and the drop of [`Ebpf`](crate::Ebpf).
#[derive(Debug)]
#[must_use = "dropping a link detaches the program"]
pub struct TracingLink {
    fd: OwnedFd,
    id: u64,
    attachment: Arc<Attachment>,
}

impl TracingLink {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self::of(fd, Arc::default())
    }

    fn of(fd: OwnedFd, attachment: Arc<Attachment>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            fd,
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            attachment,
        }
    }

    /// Its id, which no other link of this process ever has.
    pub fn id(&self) -> LinkId {
        LinkId(self.id)
    }

    pub(super) fn attachment(&self) -> Arc<Attachment> {
        Arc::clone(&self.attachment)
    }

    /// Detaches, as dropping does.
    ///
    /// # Errors
    ///
    /// None; the signature is that of [`Link::detach`](super::links::Link::detach).
    pub fn detach(self) -> Result<(), ProgramError> {
        drop(self);
        Ok(())
    }

    /// Pins the link at `path`, a name that is free in a BPF file system: it stays attached when this process is gone.
    ///
    /// The caller keeps the link, also on failure. Dropping it does not detach while the pin exists.
    ///
    /// # Minimum kernel version
    ///
    /// 5.7. Source: kernel commit 70ed506c3bbc ("bpf: Introduce pinnable bpf_link abstraction").
    ///
    /// # Errors
    ///
    /// [`LinkError::Unsupported`] before 5.7, [`LinkError::Pin`] when the name is taken or not in a BPF file system.
    pub fn pin<P: AsRef<Path>>(&self, path: P) -> Result<PinnedLink, LinkError> {
        let path = path.as_ref();
        let failed = |error| LinkError::Pin {
            path: path.to_owned(),
            error,
        };
        let copy = self.fd.try_clone().map_err(failed)?;
        let pin = Pin::make(self.fd.as_fd(), path)
            .map_err(|error| lacking(Feature::Link, error, failed))?;
        self.attachment.with_pins(|pins| pins.push(pin.clone()));
        let link = Self::of(copy, self.attachment());
        Ok(PinnedLink { link, pin })
    }

    /// The link that is pinned at `path`. The pin stays.
    ///
    /// # Minimum kernel version
    ///
    /// 5.7.
    ///
    /// # Errors
    ///
    /// [`LinkError::Pin`] when there is none; [`LinkError::WrongObject`] when something else of BPF is there. Of which
    /// type its program is, [`info`](Self::info) tells.
    pub fn from_pin<P: AsRef<Path>>(path: P) -> Result<Self, LinkError> {
        let path = path.as_ref();
        let failed = |error| LinkError::Pin {
            path: path.to_owned(),
            error,
        };
        let fd = pin::open(path).map_err(failed)?;
        match pin::other_than_link(fd.as_fd()).map_err(failed)? {
            Some(found) => Err(LinkError::WrongObject {
                path: path.to_owned(),
                found,
            }),
            None => Ok(Self::new(fd)),
        }
    }

    /// The kernel's information on the link.
    ///
    /// # Minimum kernel version
    ///
    /// 5.8; [`LinkInfo::target()`] 5.13. Source: kernel commit f2e10bff16a0 ("bpf: Add support for
    /// BPF_OBJ_GET_INFO_BY_FD for bpf_link").
    ///
    /// # Errors
    ///
    /// [`LinkError::Unsupported`] before 5.8.
    pub fn info(&self) -> Result<LinkInfo, LinkError> {
        let failed = |error| LinkError::SyscallError {
            call: "BPF_OBJ_GET_INFO_BY_FD",
            error,
        };
        LinkInfo::of(self.fd.as_fd()).map_err(|error| lacking(Feature::LinkInfo, error, failed))
    }
}

/// The refusal if the kernel lacks `feature`, else the error.
fn lacking(
    feature: Feature,
    error: io::Error,
    failed: impl FnOnce(io::Error) -> LinkError,
) -> LinkError {
    let refusal = match error.raw_os_error() {
        Some(libc::EINVAL) => feature.missing(),
        _ => None,
    };
    refusal.map_or_else(|| failed(error), LinkError::from)
}

impl AsFd for TracingLink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<TracingLink> for OwnedFd {
    /// Hands the attachment to the caller: it ends when the last copy of the descriptor is closed.
    ///
    /// From 5.8 on, a process with `CAP_SYS_ADMIN` can find out whether it still exists. Otherwise the program counts
    /// as attached until it is unloaded.
    fn from(link: TracingLink) -> Self {
        link.attachment.given_away.store(true, Ordering::Relaxed);
        link.fd
    }
}

/// A link with a pin in a BPF file system: attached until the pin and all its owners are gone.
#[derive(Debug)]
#[must_use = "the pin stays, but only this object can remove it safely"]
pub struct PinnedLink {
    link: TracingLink,
    pin: Pin,
}

impl PinnedLink {
    /// The link that is pinned at `path`, with its pin.
    ///
    /// # Minimum kernel version
    ///
    /// 5.7.
    ///
    /// # Errors
    ///
    /// Those of [`TracingLink::from_pin`].
    pub fn from_pin<P: AsRef<Path>>(path: P) -> Result<Self, LinkError> {
        let path = path.as_ref();
        let pin = Pin::of(path);
        let link = TracingLink::from_pin(path)?;
        link.attachment.with_pins(|pins| pins.push(pin.clone()));
        Ok(Self { link, pin })
    }

    /// The path of the pin.
    pub fn path(&self) -> &Path {
        self.pin.path()
    }

    /// Removes the pin and returns the link, which detaches when dropped unless another descriptor or pin keeps it.
    ///
    /// # Minimum kernel version
    ///
    /// 5.7.
    ///
    /// # Errors
    ///
    /// [`LinkError::Unpin`], which returns the pinned link, when the file cannot be removed, or was replaced by another
    /// file, which stays.
    pub fn unpin(self) -> Result<TracingLink, LinkError> {
        match self.pin.remove() {
            Ok(()) => {
                let attachment = &self.link.attachment;
                attachment.with_pins(|pins| pins.retain(|pin| *pin != self.pin));
                Ok(self.link)
            }
            Err(error) => Err(LinkError::Unpin {
                pinned: Box::new(self),
                error,
            }),
        }
    }
}

impl From<PinnedLink> for TracingLink {
    /// The link; the pin stays.
    fn from(pinned: PinnedLink) -> Self {
        pinned.link
    }
}

/// The links that a program owns.
#[derive(Debug, Default)]
pub(super) struct Links(BTreeMap<u64, TracingLink>);

impl Links {
    pub(super) fn insert(&mut self, link: TracingLink) -> LinkId {
        let id = link.id();
        self.0.insert(id.0, link);
        id
    }

    pub(super) fn take(&mut self, id: &LinkId) -> Result<TracingLink, ProgramError> {
        self.0.remove(&id.0).ok_or(ProgramError::NotAttached)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> TracingLink {
        TracingLink::new(std::fs::File::open("/dev/null").unwrap().into())
    }

    #[test]
    fn link_id_is_never_reused() {
        let mut links = Links::default();
        let mut others = Links::default();
        let first = links.insert(link());
        links.take(&first).unwrap().detach().unwrap();
        // The number of the descriptor is reused, the id is not.
        let second = links.insert(link());
        assert_ne!(first, second);
        assert!(matches!(links.take(&first), Err(ProgramError::NotAttached)));
        assert!(matches!(
            others.take(&second),
            Err(ProgramError::NotAttached)
        ));
        assert!(links.take(&second).is_ok());
    }

    #[test]
    fn program_does_not_detach_a_taken_link() {
        let mut links = Links::default();
        let kept = link();
        let attachment = kept.attachment();
        let id = links.insert(kept);
        let taken = links.take(&id).unwrap();
        assert_eq!(taken.id(), id);
        links.clear();
        assert_eq!(Arc::strong_count(&attachment), 2);
        drop(taken);
        assert_eq!(Arc::strong_count(&attachment), 1);
    }
}
