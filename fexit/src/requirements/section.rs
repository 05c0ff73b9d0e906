//! What the section of a program says: its type, its attach type, its target.

use super::Requirement;
use crate::arch::Arch;
use crate::compat::{ProgramType, program_type};
use crate::feature::Feature;
use crate::programs::ProgramData;

/// Programs that this library attaches: what the section begins with, program type, attach type, feature.
#[rustfmt::skip]
const ATTACHED: [(&str, &str, &str, Feature); 9] = [
    ("fentry", "TRACING", "TRACE_FENTRY", Feature::FEntry),
    ("fexit", "TRACING", "TRACE_FEXIT", Feature::Fexit),
    ("fmod_ret", "TRACING", "MODIFY_RETURN", Feature::FModRet),
    ("fsession", "TRACING", "TRACE_FSESSION", Feature::Session),
    ("fentry.multi", "TRACING", "TRACE_FENTRY_MULTI", Feature::Multi),
    ("fexit.multi", "TRACING", "TRACE_FEXIT_MULTI", Feature::Multi),
    ("fsession.multi", "TRACING", "TRACE_FSESSION_MULTI", Feature::Multi),
    ("lsm", "LSM", "LSM_MAC", Feature::Lsm),
    ("tp_btf", "TRACING", "TRACE_RAW_TP", Feature::BtfTracePoint),
];

/// The type of a program, by its section.
#[derive(Clone, Copy, Debug)]
pub(super) enum SectionType {
    /// One that this library attaches.
    Attached(&'static str, &'static str, &'static str, Feature),
    /// One that it only loads.
    Loaded(ProgramType),
}

impl SectionType {
    pub(super) fn of(data: &ProgramData) -> Option<Self> {
        let attached = ATTACHED.iter().find(|row| row.0 == data.kind());
        attached
            .map(|&(kind, prog, attach, feature)| Self::Attached(kind, prog, attach, feature))
            .or_else(|| program_type(&data.section).map(Self::Loaded))
    }

    /// The program type without `BPF_PROG_TYPE_`, and the attach type without `BPF_`, if the kernel is told one.
    pub(super) fn names(&self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Attached(_, prog, attach, _) => (prog, Some(attach)),
            Self::Loaded(found) => found.names(),
        }
    }

    pub(super) fn is_sleepable(&self, data: &ProgramData) -> bool {
        match self {
            Self::Attached(..) => data.is_sleepable(),
            Self::Loaded(found) => found.is_sleepable(),
        }
    }

    /// The requirements that follow from the section alone.
    pub(super) fn requirements(&self, data: &ProgramData, arch: Arch) -> Vec<Requirement> {
        let of_feature = |feature, what| Requirement::of_feature(feature, what, arch);
        let (kind, feature) = match self {
            Self::Attached(kind, _, _, feature) => (kind, *feature),
            Self::Loaded(found) => {
                let (minimum, commit) = found.first_release(arch);
                return vec![Requirement {
                    what: format!("it is a program of type `{}`", found.section()),
                    minimum: Some(minimum),
                    source: format!("kernel commit {commit}"),
                    feature: None,
                }];
            }
        };
        let article = if kind.starts_with("tp") { "a" } else { "an" };
        let mut all = vec![of_feature(
            feature,
            format!("it is {article} {kind} program"),
        )];
        if data.is_sleepable() {
            let what = format!("it may sleep (section `{}`)", data.section);
            all.push(of_feature(Feature::Sleepable, what));
        }
        if target(data).is_some_and(|target| target.module.is_some()) {
            let what = "its target is a function of a module".to_owned();
            all.push(of_feature(Feature::ModuleTarget, what));
        }
        all
    }
}

/// What a target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TargetKind {
    /// A function that the kernel's BTF must list.
    Function,
    /// Functions that the kernel's BTF must list; the name is a pattern with `*`.
    Functions,
    /// A tracepoint, of which the program sees the arguments by type: BTF must have the type `btf_trace_NAME`.
    BtfTracePoint,
    /// A hook of the security modules: BTF must list the function `bpf_lsm_NAME`.
    Hook,
    /// An iterator: BTF must list the function `bpf_iter_NAME`.
    Iterator,
    /// A function with a kprobe; it is needed to attach the program, not to load it.
    Probe,
    /// Functions with a kprobe; the name is a pattern. They are needed to attach the program, not to load it.
    Probes,
    /// A system call with a kprobe; it is needed to attach the program, not to load it.
    SystemCall,
    /// A member of a struct, `STRUCT.MEMBER`: BTF must have the struct with it, and the type `bpf_struct_ops_STRUCT`.
    StructMember,
    /// A tracepoint, `CATEGORY/NAME` or `NAME`; it is needed to attach the program, not to load it.
    TracePoint,
}

impl TargetKind {
    /// Whether the kernel must have it before it loads the program.
    pub fn is_for_load(self) -> bool {
        use TargetKind::{BtfTracePoint, Function, Hook, Iterator, StructMember};
        matches!(
            self,
            Function | BtfTracePoint | Hook | Iterator | StructMember
        )
    }
}

/// What a program is attached to, as its section names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct KernelTarget {
    /// What it is.
    pub kind: TargetKind,
    /// The module that has it, if the section names one.
    pub module: Option<String>,
    /// Its name, as the section has it.
    pub name: String,
}

/// What the targets of programs in the section are; none if the target is not one of the kernel's.
pub(super) fn target_kind(data: &ProgramData) -> Option<TargetKind> {
    Some(match data.kind() {
        "fentry" | "fexit" | "fmod_ret" | "fsession" => TargetKind::Function,
        "fentry.multi" | "fexit.multi" | "fsession.multi" => TargetKind::Functions,
        "tp_btf" => TargetKind::BtfTracePoint,
        "lsm" | "lsm_cgroup" => TargetKind::Hook,
        "iter" => TargetKind::Iterator,
        "struct_ops" => TargetKind::StructMember,
        "kprobe" | "kretprobe" => TargetKind::Probe,
        "kprobe.multi" | "kretprobe.multi" | "kprobe.session" => TargetKind::Probes,
        "ksyscall" | "kretsyscall" => TargetKind::SystemCall,
        "tp" | "tracepoint" | "raw_tp" | "raw_tracepoint" | "raw_tp.w" | "raw_tracepoint.w" => {
            TargetKind::TracePoint
        }
        _ => return None,
    })
}

/// The target in the section, or of the variable that names a program of type `struct_ops`; none if there is none, or if
/// it is not one of the kernel's.
pub(super) fn target(data: &ProgramData) -> Option<KernelTarget> {
    let kind = target_kind(data)?;
    if kind == TargetKind::StructMember {
        return Some(KernelTarget {
            kind,
            module: None,
            name: data.shared().object.struct_member(&data.name)?,
        });
    }
    Some(KernelTarget::parse(kind, data.section_target()?))
}

impl KernelTarget {
    /// Reads `NAME` or `MODULE:NAME`.
    pub fn parse(kind: TargetKind, text: &str) -> Self {
        let (module, name) = match text.split_once(':') {
            Some(("vmlinux", name)) => (None, name),
            Some((module, name)) => (Some(module.to_owned()), name),
            None => (None, text),
        };
        // A kprobe may have an offset.
        let name = match kind {
            TargetKind::Probe => name.split('+').next().unwrap_or(name),
            _ => name,
        };
        Self {
            kind,
            module,
            name: name.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::compile;
    use crate::{Arch, Ebpf};

    #[test]
    fn minimums_are_those_of_the_architecture() {
        let section = |name: &str| format!("SEC(\"{name}\") int p(void *ctx) {{ return 0; }}");
        let exchange = "SEC(\"xdp\") int p(void *ctx) {
            u64 old = 0;
            asm volatile(\".8byte 0x1000001aa0db\" ::: \"memory\");
            return old;
        }";
        let calls = |section: &str| {
            format!(
                "extern void bpf_task_acquire(void) SEC(\".ksyms\");
                 SEC(\"{section}\") int p(void *ctx) {{ bpf_task_acquire(); return 0; }}"
            )
        };
        for (source, on_x86_64, on_arm64) in [
            (section("xdp"), Some("4.8"), Some("4.8")),
            (section("tp_btf/f"), Some("5.5"), Some("5.5")),
            (section("fexit/f"), Some("5.5"), Some("6.4")),
            (section("fexit.s/f"), Some("5.10"), Some("6.4")),
            (section("lsm/f"), Some("5.7"), Some("6.4")),
            (section("fsession/f"), Some("7.0"), Some("7.0")),
            (section("fexit.multi/f*"), Some("7.2"), None),
            (section("kprobe.multi/f*"), Some("5.18"), Some("6.14")),
            (exchange.to_owned(), Some("5.12"), Some("5.18")),
            (calls("xdp"), Some("5.13"), Some("5.18")),
        ] {
            let object = Ebpf::load(&compile(&source)).unwrap();
            let minimum = |arch| {
                let minimum = object.requirements(arch).unwrap()["p"].minimum();
                minimum.map(|minimum| minimum.to_string())
            };
            assert_eq!(minimum(Arch::X86_64).as_deref(), on_x86_64, "{source}");
            assert_eq!(minimum(Arch::Arm64).as_deref(), on_arm64, "{source}");
        }
    }
}
