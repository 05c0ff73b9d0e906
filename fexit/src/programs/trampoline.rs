//! Load, attach, detach and unload for all programs that a trampoline or a tracepoint calls.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use aya_obj::generated::BPF_F_SLEEPABLE;

use super::data::{Kind, ProgramData};
use super::link::{Attachment, LinkId, Links, TracingLink};
use super::resolved::Resolved;
use super::target::{self, Target};
use super::tracing_type::{Names, TracingType};
use super::{attach_error, diagnose, info};
use crate::btf::Btf;
use crate::error::ProgramError;
use crate::feature::Feature;
use crate::sys::{self, TestRun};

/// A program with a target, and its links.
#[derive(Debug)]
pub(super) struct Trampoline {
    pub(super) kind: &'static TracingType,
    pub(super) data: ProgramData,
    target: Option<Resolved>,
    links: Links,
    /// The last attachment, even if its link was taken.
    attached: Option<Arc<Attachment>>,
}

impl Trampoline {
    pub(super) fn new(kind: &'static TracingType, data: ProgramData) -> Self {
        Self {
            kind,
            data,
            target: None,
            links: Links::default(),
            attached: None,
        }
    }

    pub(super) fn load_target(
        &mut self,
        target: &Target<'_>,
        btf: &Btf,
    ) -> Result<(), ProgramError> {
        if self.data.is_loaded() {
            return Err(ProgramError::AlreadyLoaded);
        }
        // Features as old as trampolines are checked by the load itself.
        if self.kind.feature.minimum() > Feature::Fexit.minimum() {
            self.kind.feature.require(btf)?;
        }
        let target = target::find(target, self.kind, &self.data, btf)?;
        self.load_resolved(&target, || Ok(btf.clone()))?;
        self.target = Some(target);
        self.attached = None;
        Ok(())
    }

    fn attach_type(&self, target: &Resolved) -> u32 {
        match self.kind.multi_attach_type {
            Some(multi) if !target.many.is_empty() => multi,
            _ => self.kind.attach_type,
        }
    }

    fn load_resolved(
        &mut self,
        target: &Resolved,
        btf: impl Fn() -> Result<Btf, ProgramError>,
    ) -> Result<(), ProgramError> {
        let kind = Kind {
            prog_type: self.kind.prog_type,
            attach_type: self.attach_type(target),
            flags: if self.data.is_sleepable() {
                BPF_F_SLEEPABLE
            } else {
                0
            },
            attach_btf_id: target.function.btf_id,
            attach_fd: target.owner.as_ref().map(AsFd::as_fd),
            module: target.module.as_deref(),
        };
        self.data
            .load(&kind, btf)?
            .map_err(|refusal| diagnose::load(&self.data, self.kind, target, refusal))
    }

    pub(super) fn attach(&mut self, cookie: Option<u64>) -> Result<LinkId, ProgramError> {
        self.data.fd()?;
        let last = self.attached.as_ref();
        if last.is_some_and(|last| Arc::strong_count(last) > 1) {
            return Err(ProgramError::AlreadyAttached);
        }
        // Before 6.10 the kernel ignores the cookie of a tracepoint.
        if cookie.is_some()
            && self.kind.names == Names::TracePoint
            && let Some(refusal) = self.kind.cookie.missing()
        {
            return Err(refusal.into());
        }
        // Before the attach: a program that traces opened files would see the files that this check opens.
        if let Some(error) =
            attach_error::never_fires(&self.data.name, self.kind, self.target.as_ref())
        {
            return Err(error);
        }
        let mut fd = self.try_attach(cookie);
        if let (Err(error), Some(last)) = (&fd, last)
            && is_spent(error)
        {
            if self.is_linked(last) {
                return Err(ProgramError::AlreadyAttached);
            }
            // Before 5.13 a loaded program can be attached only once.
            if Feature::LinkTarget.missing().is_some() {
                self.reload()?;
                fd = self.try_attach(cookie);
            }
        }
        let fd = fd.map_err(|error| {
            let program = (self.data.name.as_str(), self.data.fd().ok());
            attach_error::attach(program, self.kind, self.target.as_ref(), cookie, error)
        })?;
        let link = TracingLink::new(fd);
        self.attached = Some(link.attachment());
        Ok(self.links.insert(link))
    }

    fn try_attach(&self, cookie: Option<u64>) -> std::io::Result<OwnedFd> {
        let (Ok(fd), Some(target)) = (self.data.fd(), &self.target) else {
            return Err(std::io::ErrorKind::NotFound.into());
        };
        let attach_type = self.attach_type(target);
        if !target.many.is_empty() {
            let cookies = cookie.map(|cookie| vec![cookie; target.many.len()]);
            return sys::link_create_multi(
                fd,
                attach_type,
                &target.many,
                &cookies.unwrap_or_default(),
            );
        }
        match sys::link_create(fd, attach_type, cookie.unwrap_or(0)) {
            // Before 5.19 BPF_LINK_CREATE does not support these programs, and the older call has no cookie.
            Err(error) if cookie.is_none() && error.raw_os_error() == Some(libc::EINVAL) => {
                sys::raw_tracepoint_open(fd)
            }
            other => other,
        }
    }

    /// Whether a pin or a copy of the descriptor keeps the last attachment.
    fn is_linked(&self, last: &Attachment) -> bool {
        let asked = self.data.fd().ok().and_then(info::is_linked);
        asked.unwrap_or_else(|| last.may_live())
    }

    /// Replaces the loaded program by a new copy; on failure it stays.
    fn reload(&mut self) -> Result<(), ProgramError> {
        let target = self.target.take().ok_or(ProgramError::NotLoaded)?;
        // The object is relocated, so the kernel's types are not used.
        let loaded = self.load_resolved(&target, || Ok(Btf::from_sys_fs()?));
        self.target = Some(target);
        if loaded.is_ok() {
            self.attached = None;
        }
        loaded
    }

    pub(super) fn detach(&mut self, link_id: &LinkId) -> Result<(), ProgramError> {
        let link = self.take_link(link_id)?;
        link.detach()
    }

    pub(super) fn take_link(&mut self, link_id: &LinkId) -> Result<TracingLink, ProgramError> {
        self.links.take(link_id)
    }

    pub(super) fn unload(&mut self) -> Result<(), ProgramError> {
        self.links.clear();
        self.data.unload()?;
        self.target = None;
        self.attached = None;
        Ok(())
    }

    pub(super) fn test_run(&self) -> Result<TestRun, ProgramError> {
        self.data
            .test_run(&[])
            .map_err(|error| match Feature::TestRun.missing() {
                Some(refusal) if matches!(error, ProgramError::SyscallError { .. }) => {
                    refusal.into()
                }
                _ => error,
            })
    }
}

/// The errors of a second attach before 5.13: `EBUSY` up to 5.9, `ENOENT` after.
fn is_spent(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBUSY | libc::ENOENT))
}

/// The methods of `$type`, a program type with a [`Trampoline`]; the last two arguments are the minimum kernels of the
/// type and of cookies.
macro_rules! tracing_program {
    ($type:ident, $link:ident, $id:ident, $minimum:literal, $cookie:literal) => {
        impl $type {
            /// Loads the program for a [`Target`] of any kind.
            ///
            /// # Errors
            ///
            /// As [`Self::load`]; [`ProgramError::NoTarget`]; and [`ProgramError::TargetProgram`] when the target is a
            /// program that cannot be traced.
            pub fn load_target(
                &mut self,
                target: &Target<'_>,
                btf: &Btf,
            ) -> Result<(), ProgramError> {
                self.program.load_target(target, btf)
            }

            /// Attaches the program to its target. It runs until the link is detached.
            ///
            /// The program owns the link; [`Self::take_link`] hands it to the caller. A loaded program has at most one
            /// attachment.
            ///
            /// # Minimum kernel version
            ///
            #[doc = concat!($minimum, ". Attaching again after a detach needs 5.13; on an older kernel the program is")]
            /// loaded again underneath, so its [`Self::fd`] changes.
            ///
            /// # Errors
            ///
            /// [`ProgramError::NotLoaded`]; [`ProgramError::AlreadyAttached`] while an attachment lives, taken, pinned
            /// or given away; before 5.8, and without `CAP_SYS_ADMIN` before 5.13, also when one that was given away
            /// may live; [`ProgramError::AttachError`] with what is wrong and what to do;
            /// [`ProgramError::Unsupported`].
            pub fn attach(&mut self) -> Result<$id, ProgramError> {
                self.program.attach(None)
            }

            /// Attaches with a number that the program reads by `bpf_get_attach_cookie`.
            ///
            /// # Minimum kernel version
            ///
            #[doc = concat!($cookie, ".")]
            ///
            /// # Errors
            ///
            /// As [`Self::attach`].
            pub fn attach_with_cookie(&mut self, cookie: u64) -> Result<$id, ProgramError> {
                self.program.attach(Some(cookie))
            }

            /// Ends an attachment that the program owns.
            ///
            /// When this returns, the program no longer runs, except for a call in progress on another CPU.
            ///
            /// Up to 5.9 the kernel frees a trampoline at once: a task that sleeps inside the traced function returns
            /// to freed memory, and the kernel may crash. On these kernels detach from such functions, for example
            /// blocking reads, only when no task is inside. Source: kernel commit e21aa341785c ("bpf: Fix fexit
            /// trampoline.").
            ///
            /// # Minimum kernel version
            ///
            #[doc = concat!($minimum, ".")]
            ///
            /// # Errors
            ///
            /// [`ProgramError::NotAttached`] when the id names no link that this program owns.
            #[allow(clippy::needless_pass_by_value)] // an id is used once
            pub fn detach(&mut self, link_id: $id) -> Result<(), ProgramError> {
                self.program.detach(&link_id)
            }

            /// Hands a link to the caller: it detaches when dropped, and outlives `unload` and [`Ebpf`](crate::Ebpf).
            ///
            /// # Errors
            ///
            /// [`ProgramError::NotAttached`] when the id names no link that this program owns.
            #[allow(clippy::needless_pass_by_value)] // an id is used once
            pub fn take_link(&mut self, link_id: $id) -> Result<$link, ProgramError> {
                self.program.take_link(&link_id)
            }

            /// Detaches the links that the program owns and closes it. Links that were taken keep it running.
            ///
            /// The kernel frees a program shortly after its last reference is closed. It can be loaded again, also for
            /// another target.
            ///
            /// # Errors
            ///
            /// [`ProgramError::NotLoaded`].
            pub fn unload(&mut self) -> Result<(), ProgramError> {
                self.program.unload()
            }
        }
    };
}
pub(super) use tracing_program;

/// Test runs, for the types of programs that the kernel's test functions run.
macro_rules! test_run {
    ($type:ident) => {
        impl $type {
            /// Lets the kernel call its test functions `bpf_fentry_test1` and so on, or for `fmod_ret`
            /// `bpf_modify_return_test`; the program runs if it is attached to one.
            ///
            /// # Minimum kernel version
            ///
            /// 5.7. Source: kernel commit da00d2f117a0 ("bpf: Add test ops for BPF_PROG_TYPE_TRACING").
            ///
            /// # Errors
            ///
            /// [`ProgramError::NotLoaded`]; [`ProgramError::Unsupported`] before 5.7.
            pub fn test_run(&self) -> Result<TestRun, ProgramError> {
                self.program.test_run()
            }
        }
    };
}
pub(super) use test_run;
