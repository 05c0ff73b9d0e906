//! Features with their minimum kernels, and checks whether the running kernel has them.

mod on_arch;
mod unsupported;

#[cfg(test)]
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::arch::Arch;
use crate::btf::Btf;
use crate::kernel_version::KernelVersion;

pub use unsupported::Unsupported;

/// A feature that not every kernel with BPF has. The minimums of the list are those of x86-64;
/// [`Feature::minimum_on`] has those of other architectures, as 6.4 for fexit on arm64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Feature {
    /// fexit programs on functions of the kernel.
    ///
    /// From 5.5 on. Source: kernel commit fec56f5890d9 ("bpf: Introduce BPF trampoline").
    Fexit,
    /// fentry programs.
    ///
    /// From 5.5 on. Source: kernel commit fec56f5890d9 ("bpf: Introduce BPF trampoline").
    FEntry,
    /// Programs on tracepoints with typed arguments (`tp_btf`).
    ///
    /// From 5.5 on. Source: kernel commit f1b9509c2fb0 ("bpf: Replace prog_raw_tp+btf_id with prog_tracing").
    BtfTracePoint,
    /// fexit programs on other BPF programs and their subprograms.
    ///
    /// From 5.5 on. Source: kernel commit 5b92a28aae4d ("bpf: Support attaching tracing BPF program to other BPF
    /// programs").
    ProgramTarget,
    /// Programs that can replace a function by a return value (`fmod_ret`).
    ///
    /// From 5.7 on. Source: kernel commit ae24082331d9 ("bpf: Introduce BPF_MODIFY_RETURN").
    FModRet,
    /// Programs on the hooks of security modules (`lsm`).
    ///
    /// From 5.7 on. Source: kernel commit fc611f47f218 ("bpf: Introduce BPF_PROG_TYPE_LSM").
    Lsm,
    /// Links as kernel objects, which can be pinned.
    ///
    /// From 5.7 on. Source: kernel commit 70ed506c3bbc ("bpf: Introduce pinnable bpf_link abstraction").
    Link,
    /// Test runs of tracing programs.
    ///
    /// From 5.7 on. Source: kernel commit da00d2f117a0 ("bpf: Add test ops for BPF_PROG_TYPE_TRACING").
    TestRun,
    /// Information about links.
    ///
    /// From 5.8 on. Source: kernel commit f2e10bff16a0 ("bpf: Add support for BPF_OBJ_GET_INFO_BY_FD for bpf_link").
    LinkInfo,
    /// Ring buffers.
    ///
    /// From 5.8 on. Source: kernel commit 457f44363a88 ("bpf: Implement BPF ring buffer and verifier support for it").
    RingBuf,
    /// `CAP_BPF` and `CAP_PERFMON` in the place of `CAP_SYS_ADMIN`.
    ///
    /// From 5.8 on. Source: kernel commit a17b53c4a4b5 ("bpf, capability: Introduce CAP_BPF").
    Capabilities,
    /// Programs that may sleep (`fexit.s`).
    ///
    /// From 5.10 on. Source: kernel commit 1e6c62a88215 ("bpf: Introduce sleepable BPF programs").
    Sleepable,
    /// fexit programs on functions of kernel modules.
    ///
    /// From 5.11 on. Source: kernel commit 290248a5b7d8 ("bpf: Allow to specify kernel module BTFs when attaching BPF
    /// programs").
    ModuleTarget,
    /// The count of runs that were skipped because the program already ran.
    ///
    /// From 5.12 on. Source: kernel commit 9ed9e9ba2337 ("bpf: Count the number of times recursion was prevented").
    RecursionMisses,
    /// The target in the information about a link.
    ///
    /// From 5.13 on. Source: kernel commit 441e8c66b23e ("bpf: Return target info when a tracing bpf_link is
    /// queried").
    LinkTarget,
    /// `bpf_get_func_ip` in tracing programs.
    ///
    /// From 5.15 on. Source: kernel commit 9b99edcae5c8 ("bpf: Add bpf_get_func_ip helper for tracing programs").
    FuncIp,
    /// `bpf_get_func_arg`, `bpf_get_func_ret` and `bpf_get_func_arg_cnt`.
    ///
    /// From 5.17 on. Source: kernel commit f92c1e183604 ("bpf: Add get_func_[arg|ret|arg_cnt] helpers").
    FuncArgs,
    /// Attach cookies.
    ///
    /// From 5.19 on. Source: kernel commit 2fcc82411e74 ("bpf, x86: Attach a cookie to fentry/fexit/fmod_ret/lsm.").
    Cookie,
    /// The target in the information about a program.
    ///
    /// From 6.0 on. Source: kernel commit b79c9fc9551b ("bpf: implement BPF_PROG_QUERY for BPF_LSM_CGROUP").
    ProgramInfoTarget,
    /// Targets that take a struct of up to 16 bytes by value.
    ///
    /// From 6.1 on. Source: kernel commit 720e6a435194 ("bpf: Allow struct argument in trampoline based programs").
    StructArguments,
    /// Targets with 7 to 12 arguments.
    ///
    /// From 6.6 on. Source: kernel commit 473e3150e30a ("bpf, x86: allow function arguments up to 12 for TRACING").
    ManyArguments,
    /// Programs that throw (`bpf_throw`), and exception callbacks.
    ///
    /// From 6.7 on. Source: kernel commit f18b03fabaa9 ("bpf: Implement BPF exceptions").
    Exceptions,
    /// fexit programs on other tracing programs.
    ///
    /// From 6.8 on. Source: kernel commit 19bfcdf9498a ("bpf: Relax tracing prog recursive attach rules").
    TracingTarget,
    /// Arenas: memory that programs and user space share.
    ///
    /// From 6.9 on. Source: kernel commit 317460317a02 ("bpf: Introduce bpf_arena.").
    Arena,
    /// Attach cookies of `tp_btf` programs.
    ///
    /// From 6.10 on. Source: kernel commit 68ca5d4eebb8 ("bpf: support BPF cookie in raw tracepoint (raw_tp, tp_btf)
    /// programs").
    BtfTracePointCookie,
    /// One program for entry and exit.
    ///
    /// From 7.0 on. Source: `BPF_TRACE_FSESSION` in include/uapi/linux/bpf.h.
    Session,
    /// One program on many functions by one link.
    ///
    /// From 7.2 on. Source: `BPF_TRACE_FEXIT_MULTI` in include/uapi/linux/bpf.h.
    Multi,
}

/// An entry of the kernel's BTF that exists only with the feature.
#[derive(Clone, Copy, Debug)]
enum Probe {
    /// A value of some enum.
    EnumValue(&'static str),
    /// A struct.
    Struct(&'static str),
    /// A member of a struct.
    Member(&'static str, &'static str),
    /// A member of any struct or union: for a member of an anonymous one.
    AnyMember(&'static str),
    /// A function.
    Function(&'static str),
    /// A function that it requires. A kernel that has the function may still lack the feature: only the result of the call
    /// shows that.
    RequiredFunction(&'static str),
    /// BTF does not show it; only the result of the call does.
    None,
}

impl Feature {
    /// All features, oldest first.
    pub const ALL: [Self; 27] = [
        Self::Fexit,
        Self::FEntry,
        Self::BtfTracePoint,
        Self::ProgramTarget,
        Self::FModRet,
        Self::Lsm,
        Self::Link,
        Self::TestRun,
        Self::LinkInfo,
        Self::RingBuf,
        Self::Capabilities,
        Self::Sleepable,
        Self::ModuleTarget,
        Self::RecursionMisses,
        Self::LinkTarget,
        Self::FuncIp,
        Self::FuncArgs,
        Self::Cookie,
        Self::ProgramInfoTarget,
        Self::StructArguments,
        Self::ManyArguments,
        Self::Exceptions,
        Self::TracingTarget,
        Self::Arena,
        Self::BtfTracePointCookie,
        Self::Session,
        Self::Multi,
    ];

    const fn row(self) -> (&'static str, (u16, u16), Probe) {
        use Probe::{AnyMember, EnumValue, Function, Member, RequiredFunction, Struct};
        match self {
            Self::Fexit => ("fexit", (5, 5), EnumValue("BPF_TRACE_FEXIT")),
            Self::FEntry => ("fentry", (5, 5), EnumValue("BPF_TRACE_FENTRY")),
            Self::BtfTracePoint => ("tp-btf", (5, 5), EnumValue("BPF_TRACE_RAW_TP")),
            Self::FModRet => ("fmod-ret", (5, 7), EnumValue("BPF_MODIFY_RETURN")),
            Self::Lsm => ("lsm", (5, 7), EnumValue("BPF_LSM_MAC")),
            Self::ProgramTarget => ("program-target", (5, 5), EnumValue("BPF_TRACE_FEXIT")),
            Self::Link => ("link", (5, 7), Struct("bpf_tracing_link")),
            Self::TestRun => ("test-run", (5, 7), Function("bpf_prog_test_run_tracing")),
            Self::LinkInfo => ("link-info", (5, 8), EnumValue("BPF_LINK_TYPE_TRACING")),
            Self::RingBuf => ("ring-buffer", (5, 8), EnumValue("BPF_MAP_TYPE_RINGBUF")),
            Self::Capabilities => (
                "capabilities",
                (5, 8),
                Member("bpf_verifier_env", "bpf_capable"),
            ),
            Self::Sleepable => ("sleepable", (5, 10), EnumValue("BPF_FUNC_copy_from_user")),
            // Not `struct btf_module`, which depends on the configuration.
            Self::ModuleTarget => ("module-target", (5, 11), AnyMember("attach_btf_obj_fd")),
            Self::RecursionMisses => (
                "recursion-misses",
                (5, 12),
                Member("bpf_prog_info", "recursion_misses"),
            ),
            Self::LinkTarget => ("link-target", (5, 13), AnyMember("target_obj_id")),
            Self::FuncIp => ("func-ip", (5, 15), EnumValue("BPF_FUNC_get_func_ip")),
            Self::FuncArgs => ("func-args", (5, 17), EnumValue("BPF_FUNC_get_func_ret")),
            Self::Cookie => ("cookie", (5, 19), Struct("bpf_tramp_link")),
            Self::ProgramInfoTarget => (
                "program-info-target",
                (6, 0),
                Member("bpf_prog_info", "attach_btf_obj_id"),
            ),
            Self::StructArguments => (
                "struct-arguments",
                (6, 1),
                Member("btf_func_model", "arg_flags"),
            ),
            Self::ManyArguments => ("many-arguments", (6, 6), Probe::None),
            // The JIT must support it too.
            Self::Exceptions => ("exceptions", (6, 7), RequiredFunction("bpf_throw")),
            Self::TracingTarget => (
                "tracing-target",
                (6, 8),
                Member("bpf_prog_aux", "attach_tracing_prog"),
            ),
            Self::Arena => ("arena", (6, 9), EnumValue("BPF_MAP_TYPE_ARENA")),
            Self::BtfTracePointCookie => (
                "tp-btf-cookie",
                (6, 10),
                Member("bpf_raw_tp_link", "cookie"),
            ),
            Self::Session => ("fsession", (7, 0), EnumValue("BPF_TRACE_FSESSION")),
            Self::Multi => ("multi", (7, 2), EnumValue("BPF_TRACE_FEXIT_MULTI")),
        }
    }

    /// A short name, stable for scripts: `cookie`.
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// The first upstream release that has it, on x86-64.
    pub const fn minimum(self) -> KernelVersion {
        let (major, minor) = self.row().1;
        KernelVersion::new(major, minor, 0)
    }

    /// The feature with this [`Feature::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|feature| feature.name() == name)
    }

    /// Whether the kernel that `btf` describes has it, by its types, not by its version.
    ///
    /// `None` if its types do not show it.
    pub fn is_in(self, btf: &Btf) -> Option<bool> {
        self.is_in_on(Arch::current(), btf)
    }

    fn is_in_on(self, arch: Option<Arch>, btf: &Btf) -> Option<bool> {
        if let Some(arch) = arch {
            if self.require_kernel_functions(Some(arch), btf).is_err() {
                return Some(false);
            }
            // The types came with x86-64, whether or not the architecture supports what they describe.
            let is_later = self.minimum_on(arch) != Some(self.minimum());
            let is_checked =
                arch == Arch::Arm64 && self.base(arch) == Some(arch.kernel_functions());
            let is_open = is_later && (self.on_other(arch).is_some() || !is_checked);
            return self.shown_by(btf).filter(|shown| !(is_open && *shown));
        }
        self.shown_by(btf)
    }

    fn shown_by(self, btf: &Btf) -> Option<bool> {
        btf.raw().ok()?;
        let has = match self.row().2 {
            Probe::EnumValue(name) => btf.has_enum_value(name),
            Probe::Struct(name) => btf.has_struct(name),
            Probe::Member(name, member) => btf.has_member(name, member),
            Probe::AnyMember(member) => btf.has_any_member(member),
            Probe::Function(name) => btf.has_function(name),
            Probe::RequiredFunction(name) if btf.has_function(name) => return None,
            Probe::RequiredFunction(_) => false,
            Probe::None => return None,
        };
        (has || btf.is_whole()).then_some(has)
    }

    /// Fails if the BTF shows that the kernel lacks this, before a call that would do harm.
    ///
    /// # Errors
    ///
    /// [`Unsupported`]; not if the kernel's types do not show it.
    pub fn require(self, btf: &Btf) -> Result<(), Unsupported> {
        match self.is_in(btf) {
            Some(false) => Err(self.unsupported()),
            _ => Ok(()),
        }
    }

    /// Fails if the kernel has no programs with a target. Called before anything is created or looked up.
    pub(crate) fn require_targets(self) -> Result<(), Unsupported> {
        if crate::sys::knows_targets() {
            Ok(())
        } else {
            Err(self.unsupported())
        }
    }

    /// Fails if programs cannot be attached to functions of this kernel. On arm64 that requires direct calls of ftrace:
    /// a kernel without them loads the program, but refuses each attach with errno 524.
    pub(crate) fn require_kernel_functions(
        self,
        arch: Option<Arch>,
        btf: &Btf,
    ) -> Result<(), Unsupported> {
        let Some(arch @ Arch::Arm64) = arch else {
            return Ok(());
        };
        let is_lacking = || !btf.has_function("register_ftrace_direct") && btf.is_whole();
        match self.base(arch) {
            Some(base) if base == arch.kernel_functions() && is_lacking() => {
                Err(self.unsupported_on(Some(arch)))
            }
            _ => Ok(()),
        }
    }

    /// The refusal, for a kernel that lacks this.
    pub(crate) fn unsupported(self) -> Unsupported {
        self.unsupported_on(Arch::current())
    }

    fn unsupported_on(self, arch: Option<Arch>) -> Unsupported {
        Unsupported {
            feature: self,
            minimum: arch.map_or(Some(self.minimum()), |arch| self.minimum_on(arch)),
            running: KernelVersion::current(),
        }
    }

    /// The refusal after a failed call, if the kernel's types show that it lacks this.
    pub(crate) fn missing(self) -> Option<Unsupported> {
        let btf = Btf::from_sys_fs().ok()?;
        (self.is_in(&btf) == Some(false)).then(|| self.unsupported())
    }
}

#[cfg(test)]
impl Feature {
    /// C whose types show these features.
    pub(crate) fn in_c(features: impl Iterator<Item = Self>) -> String {
        let (mut lines, mut structs) = (BTreeSet::new(), BTreeMap::new());
        for feature in features {
            match feature.row().2 {
                Probe::EnumValue(name) => {
                    lines.insert(format!("enum {{ {name} }} the_{name};\n"));
                }
                Probe::Struct(name) => {
                    structs.entry(name).or_insert_with(String::new);
                }
                Probe::Member(name, member) => {
                    let members = structs.entry(name).or_insert_with(String::new);
                    members.push_str(&format!("int {member};"));
                }
                Probe::AnyMember(member) => {
                    lines.insert(format!("struct {{ int {member}; }} with_{member};\n"));
                }
                Probe::Function(name) | Probe::RequiredFunction(name) => {
                    lines.insert(format!("int {name}(void) {{ return 0; }}\n"));
                }
                Probe::None => {}
            }
        }
        let structs = structs.iter().map(|(name, members)| {
            format!("struct {name} {{ int first; {members} }} the_{name};\n")
        });
        lines.into_iter().chain(structs).collect()
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests;
