//! fexit programs and sessions.

use super::attach_types::{
    BPF_TRACE_FEXIT, BPF_TRACE_FEXIT_MULTI, BPF_TRACE_FSESSION, BPF_TRACE_FSESSION_MULTI,
};
use super::data::ProgramData;
use super::link::{LinkId, TracingLink};
use super::target::Target;
use super::tracing_type::{TRACING, TracingType};
use super::trampoline::{Trampoline, test_run, tracing_program};
use crate::btf::Btf;
use crate::error::ProgramError;
use crate::feature::Feature;
use crate::sys::TestRun;

static FEXIT: TracingType = TracingType {
    name: "fexit",
    attach_type: BPF_TRACE_FEXIT,
    multi_attach_type: Some(BPF_TRACE_FEXIT_MULTI),
    actions: ["load an fexit program", "attach an fexit program"],
    ..TRACING
};

static FSESSION: TracingType = TracingType {
    name: "fsession",
    feature: Feature::Session,
    attach_type: BPF_TRACE_FSESSION,
    multi_attach_type: Some(BPF_TRACE_FSESSION_MULTI),
    ..FEXIT
};

/// A program that runs when a function returns, with its arguments and its return value.
///
/// The function may be one of the kernel, of a module, or another BPF program; `load` chooses it. Compared with a
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
    pub(super) program: Trampoline,
}

/// One attachment of an fexit program or a session.
pub type FExitLink = TracingLink;

/// Names one attachment of an fexit program or a session.
pub type FExitLinkId = LinkId;

impl FExit {
    pub(super) fn new(data: ProgramData) -> Self {
        let session = matches!(data.kind(), "fsession" | "fsession.multi");
        Self {
            program: Trampoline::new(if session { &FSESSION } else { &FEXIT }, data),
        }
    }

    /// Loads the program for the function `fn_name`: one of the kernel, or of a module as `module:function`.
    ///
    /// A name that the kernel does not have is looked up in all loaded modules. `btf` is the running kernel's.
    ///
    /// # Minimum kernel version
    ///
    /// 5.5; functions of modules 5.11.
    ///
    /// # Errors
    ///
    /// [`ProgramError::AlreadyLoaded`]; [`ProgramError::Btf`] when there is no such function, or the name is ambiguous;
    /// [`ProgramError::TargetRefused`] when the kernel allows no program on it; [`ProgramError::LoadError`] with the
    /// verifier's log; [`ProgramError::Unsupported`] when the kernel lacks a feature that the program requires.
    pub fn load(&mut self, fn_name: &str, btf: &Btf) -> Result<(), ProgramError> {
        self.load_target(&Target::Function(fn_name), btf)
    }

    /// Whether the program runs at the entry of its target as well: `SEC("fsession/...")`, and for many functions
    /// `SEC("fsession.multi/...")`.
    pub fn is_session(&self) -> bool {
        self.program.kind.name == FSESSION.name
    }
}

tracing_program!(FExit, FExitLink, FExitLinkId, "5.5", "5.19");
test_run!(FExit);
