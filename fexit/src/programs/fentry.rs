//! fentry programs.

use super::attach_types::{BPF_TRACE_FENTRY, BPF_TRACE_FENTRY_MULTI};
use super::data::ProgramData;
use super::link::{LinkId, TracingLink};
use super::target::Target;
use super::tracing_type::{TRACING, TracingType};
use super::trampoline::{Trampoline, test_run, tracing_program};
use crate::btf::Btf;
use crate::error::ProgramError;
use crate::feature::Feature;
use crate::sys::TestRun;

static FENTRY: TracingType = TracingType {
    name: "fentry",
    feature: Feature::FEntry,
    attach_type: BPF_TRACE_FENTRY,
    multi_attach_type: Some(BPF_TRACE_FENTRY_MULTI),
    actions: ["load an fentry program", "attach an fentry program"],
    ..TRACING
};

/// A program that runs before a function, with its arguments: `SEC("fentry/FUNCTION")`.
///
/// The function may be one of the kernel, of a module, or another BPF program. `SEC("fentry.s/FUNCTION")` may sleep
/// (5.10), `SEC("fentry.multi/GLOB")` runs on many functions by one link (7.2).
///
/// # Minimum kernel version
///
/// 5.5. Source: kernel commit fec56f5890d9 ("bpf: Introduce BPF trampoline").
///
/// # Example
///
/// ```no_run
/// # let mut ebpf = fexit::Ebpf::load_file("prog.bpf.o")?;
/// use fexit::{Btf, programs::FEntry};
///
/// let btf = Btf::from_sys_fs()?;
/// let program: &mut FEntry = ebpf.program_mut("on_open").unwrap().try_into()?;
/// program.load("vfs_open", &btf)?;
/// program.attach()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FEntry {
    pub(super) program: Trampoline,
}

/// One attachment of an fentry program.
pub type FEntryLink = TracingLink;

/// Names one attachment of an fentry program.
pub type FEntryLinkId = LinkId;

impl FEntry {
    pub(super) fn new(data: ProgramData) -> Self {
        Self {
            program: Trampoline::new(&FENTRY, data),
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
}

tracing_program!(FEntry, FEntryLink, FEntryLinkId, "5.5", "5.19");
test_run!(FEntry);
