//! Links: who owns an attachment, and how it ends.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::info::LinkInfo;
use crate::error::{LinkError, ProgramError};
use crate::feature::Feature;
use crate::sys;

/// Names one attachment of one program, and never another one: not after it was detached, not in another object.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct FExitLinkId(u64);

/// What the program knows of an attachment whose link it may have given away.
#[derive(Debug, Default)]
pub(super) struct Attachment {
    pinned: AtomicBool,
}

impl Attachment {
    pub(super) fn is_pinned(&self) -> bool {
        self.pinned.load(Ordering::Relaxed)
    }
}

/// One attachment: the program runs while this lives. Dropping it detaches.
///
/// It outlives the program's `unload` and the drop of [`Ebpf`](crate::Ebpf).
#[derive(Debug)]
#[must_use = "dropping a link detaches the program"]
pub struct FExitLink {
    fd: OwnedFd,
    attachment: Arc<Attachment>,
}

impl FExitLink {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self {
            fd,
            attachment: Arc::default(),
        }
    }

    pub(super) fn attachment(&self) -> Arc<Attachment> {
        Arc::clone(&self.attachment)
    }

    /// Detaches, as dropping does.
    pub fn detach(self) {
        drop(self);
    }

    /// Pins the link at `path`, a name that is free in a BPF file system: it stays attached when this process is gone.
    ///
    /// The link stays yours, also when this fails; dropping it does not detach while the pin is there.
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
        let c_path = c_path(path).map_err(failed)?;
        let copy = self.fd.try_clone().map_err(failed)?;
        sys::obj_pin(self.fd.as_fd(), &c_path)
            .map_err(|error| lacking(Feature::Link, error, failed))?;
        self.attachment.pinned.store(true, Ordering::Relaxed);
        let link = Self {
            fd: copy,
            attachment: self.attachment(),
        };
        Ok(PinnedLink {
            link,
            path: path.to_owned(),
        })
    }

    /// The link that is pinned at `path`. The pin stays.
    ///
    /// # Minimum kernel version
    ///
    /// 5.7.
    ///
    /// # Errors
    ///
    /// [`LinkError::Pin`] when there is none.
    pub fn from_pin<P: AsRef<Path>>(path: P) -> Result<Self, LinkError> {
        let path = path.as_ref();
        let failed = |error| LinkError::Pin {
            path: path.to_owned(),
            error,
        };
        let fd = sys::obj_get(&c_path(path).map_err(failed)?).map_err(failed)?;
        let link = Self::new(fd);
        match link.info() {
            // Any object of BPF can be pinned there; before 5.8 the kernel does not tell which this is.
            Err(LinkError::SyscallError { error, .. }) => Err(failed(error)),
            _ => Ok(link),
        }
    }

    /// What the kernel knows of the link.
    ///
    /// # Minimum kernel version
    ///
    /// 5.8; [`LinkInfo::target()`] 5.13.
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

/// The refusal if the kernel lacks `feature`, else the failure itself.
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

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_encoded_bytes())?)
}

impl AsFd for FExitLink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<FExitLink> for OwnedFd {
    /// Gives the attachment away: it ends when the last copy of the descriptor is closed.
    fn from(link: FExitLink) -> Self {
        link.fd
    }
}

/// A link with a name in a BPF file system: attached until the name and all its owners are gone.
#[derive(Debug)]
#[must_use = "the pin stays, but only this object can remove it safely"]
pub struct PinnedLink {
    link: FExitLink,
    path: PathBuf,
}

impl PinnedLink {
    /// Where it is pinned.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the pin and gives the link back, which detaches when dropped unless somebody else has it as well.
    ///
    /// # Errors
    ///
    /// [`LinkError::Pin`] when the file cannot be removed, or is another link's by now: then it is left alone.
    pub fn unpin(self) -> Result<FExitLink, LinkError> {
        let failed = |error| LinkError::Pin {
            path: self.path.clone(),
            error,
        };
        if let (Ok(there), Ok(mine)) = (FExitLink::from_pin(&self.path), self.link.info())
            && there.info()?.id != mine.id
        {
            return Err(failed(io::Error::other("another link is pinned there now")));
        }
        std::fs::remove_file(&self.path).map_err(failed)?;
        self.link.attachment.pinned.store(false, Ordering::Relaxed);
        Ok(self.link)
    }
}

impl From<PinnedLink> for FExitLink {
    /// The link; the pin stays.
    fn from(pinned: PinnedLink) -> Self {
        pinned.link
    }
}

/// The links that a program owns.
#[derive(Debug, Default)]
pub(super) struct Links(BTreeMap<u64, FExitLink>);

impl Links {
    pub(super) fn insert(&mut self, link: FExitLink) -> FExitLinkId {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        self.0.insert(id, link);
        FExitLinkId(id)
    }

    pub(super) fn take(&mut self, id: &FExitLinkId) -> Result<FExitLink, ProgramError> {
        self.0.remove(&id.0).ok_or(ProgramError::NotAttached)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> FExitLink {
        FExitLink::new(std::fs::File::open("/dev/null").unwrap().into())
    }

    #[test]
    fn an_id_names_one_link_for_ever() {
        let mut links = Links::default();
        let mut others = Links::default();
        let first = links.insert(link());
        links.take(&first).unwrap().detach();
        // The descriptor's number is free again and reused, the id is not.
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
    fn a_taken_link_is_not_the_programs_to_end() {
        let mut links = Links::default();
        let kept = link();
        let attachment = kept.attachment();
        let id = links.insert(kept);
        let taken = links.take(&id).unwrap();
        links.clear();
        assert_eq!(Arc::strong_count(&attachment), 2);
        drop(taken);
        assert_eq!(Arc::strong_count(&attachment), 1);
    }
}
