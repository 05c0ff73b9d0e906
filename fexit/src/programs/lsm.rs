//! Programs at the hooks of the kernel's security modules.

use aya_obj::generated::bpf_prog_type::BPF_PROG_TYPE_LSM;

use super::attach_types::BPF_LSM_MAC;
use super::data::ProgramData;
use super::link::{LinkId, TracingLink};
use super::target::Target;
use super::tracing_type::{Names, TRACING, TracingType};
use super::trampoline::{Trampoline, tracing_program};
use crate::btf::Btf;
use crate::error::ProgramError;
use crate::feature::Feature;

static LSM: TracingType = TracingType {
    name: "lsm",
    feature: Feature::Lsm,
    prog_type: BPF_PROG_TYPE_LSM as u32,
    attach_type: BPF_LSM_MAC,
    names: Names::Hook,
    actions: ["load an lsm program", "attach an lsm program"],
    ..TRACING
};

/// A program at a hook of the kernel's security modules, which may deny the operation: `SEC("lsm/HOOK")`.
///
/// The hooks are the functions `bpf_lsm_HOOK` of the kernel, those of include/linux/lsm_hook_defs.h. Zero allows, a
/// negative error number denies. `SEC("lsm.s/HOOK")` may sleep: from 5.10 on at one hook, `bprm_committed_creds`, from
/// 5.11 on at most (kernel commit 423f16108c9d, "bpf: Augment the set of sleepable LSM hooks").
///
/// The kernel must be built with `CONFIG_BPF_LSM`, and `bpf` must be one of its security modules (`CONFIG_LSM`, or
/// `lsm=` at boot). Otherwise the kernel attaches programs and never runs them. Then [`Lsm::attach`] fails, if
/// securityfs is mounted at `/sys/kernel/security`.
///
/// # Minimum kernel version
///
/// 5.7. Source: kernel commit fc611f47f218 ("bpf: Introduce BPF_PROG_TYPE_LSM").
///
/// # Example
///
/// ```no_run
/// # let mut ebpf = fexit::Ebpf::load_file("prog.bpf.o")?;
/// use fexit::{Btf, programs::Lsm};
///
/// let btf = Btf::from_sys_fs()?;
/// let program: &mut Lsm = ebpf.program_mut("deny_open").unwrap().try_into()?;
/// program.load("file_open", &btf)?;
/// program.attach()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Lsm {
    pub(super) program: Trampoline,
}

/// One attachment of an lsm program.
pub type LsmLink = TracingLink;

/// Names one attachment of an lsm program.
pub type LsmLinkId = LinkId;

impl Lsm {
    pub(super) fn new(data: ProgramData) -> Self {
        Self {
            program: Trampoline::new(&LSM, data),
        }
    }

    /// Loads the program for the hook `lsm_hook_name`, such as `file_open`. `btf` is the running kernel's.
    ///
    /// # Minimum kernel version
    ///
    /// 5.7.
    ///
    /// # Errors
    ///
    /// [`ProgramError::AlreadyLoaded`]; [`ProgramError::Btf`] when there is no such hook;
    /// [`ProgramError::TargetRefused`] when the kernel allows no program on it; [`ProgramError::LoadError`] with the
    /// verifier's log; [`ProgramError::Unsupported`] when the kernel lacks a feature that the program requires.
    pub fn load(&mut self, lsm_hook_name: &str, btf: &Btf) -> Result<(), ProgramError> {
        self.load_target(&Target::Function(lsm_hook_name), btf)
    }
}

tracing_program!(Lsm, LsmLink, LsmLinkId, "5.7", "5.19");
