//! fmod_ret programs.

use super::attach_types::BPF_MODIFY_RETURN;
use super::data::ProgramData;
use super::link::{LinkId, TracingLink};
use super::target::Target;
use super::tracing_type::{TRACING, TracingType};
use super::trampoline::{Trampoline, test_run, tracing_program};
use crate::btf::Btf;
use crate::error::ProgramError;
use crate::feature::Feature;
use crate::sys::TestRun;

static FMOD_RET: TracingType = TracingType {
    name: "fmod_ret",
    feature: Feature::FModRet,
    attach_type: BPF_MODIFY_RETURN,
    actions: ["load an fmod_ret program", "attach an fmod_ret program"],
    ..TRACING
};

/// A program that runs before a function and may replace it: `SEC("fmod_ret/FUNCTION")`.
///
/// If the program returns another value than zero, the function does not run, and its caller gets that value.
/// The function must be a hook of the security modules (`security_*`), or be marked with
/// `ALLOW_ERROR_INJECTION` in a kernel built with `CONFIG_FUNCTION_ERROR_INJECTION`; it is never a BPF program.
/// `SEC("fmod_ret.s/FUNCTION")` may sleep (5.10).
///
/// # Minimum kernel version
///
/// 5.7. Source: kernel commit ae24082331d9 ("bpf: Introduce BPF_MODIFY_RETURN").
///
/// # Example
///
/// ```no_run
/// # let mut ebpf = fexit::Ebpf::load_file("prog.bpf.o")?;
/// use fexit::{Btf, programs::FModRet};
///
/// let btf = Btf::from_sys_fs()?;
/// let program: &mut FModRet = ebpf.program_mut("deny").unwrap().try_into()?;
/// program.load("security_file_open", &btf)?;
/// program.attach()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FModRet {
    pub(super) program: Trampoline,
}

/// One attachment of an fmod_ret program.
pub type FModRetLink = TracingLink;

/// Names one attachment of an fmod_ret program.
pub type FModRetLinkId = LinkId;

impl FModRet {
    pub(super) fn new(data: ProgramData) -> Self {
        Self {
            program: Trampoline::new(&FMOD_RET, data),
        }
    }

    /// Loads the program for the function `fn_name`: one of the kernel, or of a module as `module:function`.
    ///
    /// A name that the kernel does not have is looked up in all loaded modules. `btf` is the running kernel's.
    ///
    /// # Minimum kernel version
    ///
    /// 5.7; functions of modules 5.11.
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

tracing_program!(FModRet, FModRetLink, FModRetLinkId, "5.7", "5.19");
test_run!(FModRet);
