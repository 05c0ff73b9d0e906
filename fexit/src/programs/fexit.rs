//! fexit programs.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use aya_obj::generated::{BPF_F_SLEEPABLE, bpf_prog_type::BPF_PROG_TYPE_TRACING};

use super::attach_types::{
    BPF_TRACE_FEXIT, BPF_TRACE_FEXIT_MULTI, BPF_TRACE_FSESSION, BPF_TRACE_FSESSION_MULTI,
};
use super::data::{Kind, ProgramData};
use super::fexit_link::{Attachment, Links};
pub use super::fexit_link::{FExitLink, FExitLinkId};
use super::resolved::Resolved;
use super::target::{self, Target};
use super::{diagnose, info};
use crate::btf::Btf;
use crate::error::ProgramError;
use crate::feature::Feature;
use crate::sys;
use crate::sys::TestRun;

/// A program that runs when a function returns, with its arguments and its return value.
///
/// The function may be one of the kernel, of a module, or another BPF program; it is chosen by `load`. Beside a
/// kretprobe it has practically zero overhead: there is no trap and no table of return addresses, only a call.
///
/// # Minimum kernel version
///
/// 5.5. Source: kernel commit fec56f5890d9 ("bpf: Introduce BPF trampoline").
///
/// # Example
///
/// ```no_run
/// # #[derive(thiserror::Error, Debug)]
/// # enum Error {
/// #     #[error(transparent)]
/// #     BtfError(#[from] fexit::BtfError),
/// #     #[error(transparent)]
/// #     Program(#[from] fexit::programs::ProgramError),
/// #     #[error(transparent)]
/// #     Ebpf(#[from] fexit::EbpfError),
/// # }
/// # let mut bpf = Bpf::load_file("ebpf_programs.o")?;
/// use fexit::{Bpf, programs::FExit, BtfError, Btf};
///
/// let btf = Btf::from_sys_fs()?;
/// let program: &mut FExit = bpf.program_mut("filename_lookup").unwrap().try_into()?;
/// program.load("filename_lookup", &btf)?;
/// let link_id = program.attach()?;
/// // ... the program runs at each return of filename_lookup ...
/// program.detach(link_id)?;
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct FExit {
    pub(super) data: ProgramData,
    target: Option<Resolved>,
    links: Links,
    /// The last attachment, even if its link was taken.
    attached: Option<Arc<Attachment>>,
}

impl FExit {
    pub(super) fn new(data: ProgramData) -> Self {
        Self {
            data,
            target: None,
            links: Links::default(),
            attached: None,
        }
    }

    /// Loads the program for the function `fn_name`: one of the kernel, or of a module as `module:function`.
    ///
    /// A bare name that the kernel does not have is looked for in all loaded modules. `btf` is the running kernel's.
    ///
    /// # Minimum kernel version
    ///
    /// 5.5; functions of modules 5.11.
    ///
    /// # Errors
    ///
    /// [`ProgramError::AlreadyLoaded`]; [`ProgramError::Btf`] when there is no such function, or several;
    /// [`ProgramError::TargetRefused`] when the kernel allows no program on it; [`ProgramError::LoadError`] with the
    /// verifier's log; [`ProgramError::Unsupported`] when the kernel lacks something that the program needs.
    pub fn load(&mut self, fn_name: &str, btf: &Btf) -> Result<(), ProgramError> {
        self.load_target(&Target::Function(fn_name), btf)
    }

    /// Loads the program for any kind of target: see [`Target`].
    ///
    /// # Errors
    ///
    /// As [`FExit::load`], and [`ProgramError::TargetProgram`] when the target is a program that cannot be traced.
    pub fn load_target(&mut self, target: &Target<'_>, btf: &Btf) -> Result<(), ProgramError> {
        if self.data.is_loaded() {
            return Err(ProgramError::AlreadyLoaded);
        }
        if self.is_session() {
            Feature::Session.require(btf)?;
        }
        target.feature().require_targets()?;
        target::prefetch_names(target, &self.data, btf)?;
        let target = target::resolve(target, &self.data, btf)?;
        self.load_resolved(&target, || Ok(btf.clone()))?;
        self.target = Some(target);
        self.attached = None;
        Ok(())
    }

    /// Whether the program runs at the entry of its target as well: `SEC("fsession/...")`, and for many functions
    /// `SEC("fsession.multi/...")`.
    pub fn is_session(&self) -> bool {
        matches!(self.data.kind(), "fsession" | "fsession.multi")
    }

    fn attach_type(&self, target: &Resolved) -> u32 {
        match (self.is_session(), target.many.is_empty()) {
            (false, true) => BPF_TRACE_FEXIT,
            (true, true) => BPF_TRACE_FSESSION,
            (false, false) => BPF_TRACE_FEXIT_MULTI,
            (true, false) => BPF_TRACE_FSESSION_MULTI,
        }
    }

    fn load_resolved(
        &mut self,
        target: &Resolved,
        btf: impl Fn() -> Result<Btf, ProgramError>,
    ) -> Result<(), ProgramError> {
        let kind = Kind {
            prog_type: BPF_PROG_TYPE_TRACING as u32,
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
            .map_err(|refusal| diagnose::load(&self.data, target, refusal))
    }

    /// Attaches the program to its target. The program runs from now on, until the link ends.
    ///
    /// The link belongs to the program; [`FExit::take_link`] takes it out. One loaded program has one attachment.
    ///
    /// # Minimum kernel version
    ///
    /// 5.5. Attaching again after a detach needs 5.13 of the kernel; on older ones the program is loaded anew
    /// underneath, so its [`FExit::fd`] changes.
    ///
    /// # Errors
    ///
    /// [`ProgramError::NotLoaded`]; [`ProgramError::AlreadyAttached`] while an attachment lives, taken, pinned or given
    /// away; before 5.8, and without `CAP_SYS_ADMIN` before 5.13, also when one that was given away may live;
    /// [`ProgramError::AttachError`] with what is wrong and what to do; [`ProgramError::Unsupported`].
    pub fn attach(&mut self) -> Result<FExitLinkId, ProgramError> {
        self.attach_cookie(None)
    }

    /// Attaches with a number that the program reads by `bpf_get_attach_cookie`.
    ///
    /// # Minimum kernel version
    ///
    /// 5.19. Source: kernel commit 2fcc82411e74 ("bpf, x86: Attach a cookie to fentry/fexit/fmod_ret/lsm.").
    ///
    /// # Errors
    ///
    /// As [`FExit::attach`].
    pub fn attach_with_cookie(&mut self, cookie: u64) -> Result<FExitLinkId, ProgramError> {
        self.attach_cookie(Some(cookie))
    }

    fn attach_cookie(&mut self, cookie: Option<u64>) -> Result<FExitLinkId, ProgramError> {
        self.data.fd()?;
        let last = self.attached.as_ref();
        if last.is_some_and(|last| Arc::strong_count(last) > 1) {
            return Err(ProgramError::AlreadyAttached);
        }
        // Asked before, not after: what this opens would be seen by a program that watches files being opened.
        let target = self.target.as_ref();
        if target.is_some_and(|target| !target.is_program) && diagnose::ftrace_is_off() {
            return Err(diagnose::never_fires(&self.data.name, target));
        }
        let mut fd = self.try_attach(cookie);
        if let (Err(error), Some(last)) = (&fd, last)
            && is_spent(error)
        {
            if self.is_linked(last) {
                return Err(ProgramError::AlreadyAttached);
            }
            // A kernel before 5.13 lets a loaded program be attached only once in its life.
            if Feature::LinkTarget.missing().is_some() {
                self.reload()?;
                fd = self.try_attach(cookie);
            }
        }
        let fd = fd.map_err(|error| {
            let program = (self.data.name.as_str(), self.data.fd().ok());
            diagnose::attach(program, self.target.as_ref(), cookie, error)
        })?;
        let link = FExitLink::new(fd);
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
            // Before 5.19 that call does not take fexit programs, and the older one has no room for a cookie.
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

    /// Puts a fresh copy in the place of the loaded program, which stays if that fails.
    fn reload(&mut self) -> Result<(), ProgramError> {
        let target = self.target.take().ok_or(ProgramError::NotLoaded)?;
        // Nothing is left to relocate, so the kernel's types are not asked for.
        let loaded = self.load_resolved(&target, || Ok(Btf::from_sys_fs()?));
        self.target = Some(target);
        if loaded.is_ok() {
            self.attached = None;
        }
        loaded
    }

    /// Ends an attachment that the program owns.
    ///
    /// The program does not run any more when this returns, but for a call that is under way on another CPU.
    ///
    /// Up to 5.9 the kernel frees the trampoline at once: if a task sleeps inside the traced function meanwhile, it
    /// returns to memory that is gone, and the kernel may crash. There, detach from such functions (reads that wait,
    /// say) only when no task is inside. Source: kernel commit e21aa341785c ("bpf: Fix fexit trampoline.").
    ///
    /// # Minimum kernel version
    ///
    /// 5.5.
    ///
    /// # Errors
    ///
    /// [`ProgramError::NotAttached`] when the id names no link that this program owns.
    pub fn detach(&mut self, link_id: FExitLinkId) -> Result<(), ProgramError> {
        let link = self.take_link(link_id)?;
        link.detach()
    }

    /// Takes a link out, to own it: it detaches when dropped, and outlives `unload` and [`Ebpf`](crate::Ebpf).
    ///
    /// # Errors
    ///
    /// [`ProgramError::NotAttached`] when the id names no link that this program owns.
    #[allow(clippy::needless_pass_by_value)] // an id is used once
    pub fn take_link(&mut self, link_id: FExitLinkId) -> Result<FExitLink, ProgramError> {
        self.links.take(&link_id)
    }

    /// Detaches the links that the program owns and closes it. Links that were taken keep it running.
    ///
    /// The kernel frees a program a little after its last user is gone. It can be loaded anew, also for another target.
    ///
    /// # Errors
    ///
    /// [`ProgramError::NotLoaded`].
    pub fn unload(&mut self) -> Result<(), ProgramError> {
        self.links.clear();
        self.data.unload()?;
        self.target = None;
        self.attached = None;
        Ok(())
    }

    /// Lets the kernel call its test functions `bpf_fentry_test1` and so on; the program runs if it is attached to one.
    ///
    /// # Minimum kernel version
    ///
    /// 5.7. Source: kernel commit da00d2f117a0 ("bpf: Add test ops for BPF_PROG_TYPE_TRACING").
    ///
    /// # Errors
    ///
    /// [`ProgramError::NotLoaded`]; [`ProgramError::Unsupported`] before 5.7.
    pub fn test_run(&self) -> Result<TestRun, ProgramError> {
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

/// The answers of kernels before 5.13 to a second attach: `EBUSY` up to 5.9, `ENOENT` after.
fn is_spent(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBUSY | libc::ENOENT))
}
