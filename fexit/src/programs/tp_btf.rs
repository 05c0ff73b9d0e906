//! Programs on tracepoints that see their arguments by type.

use super::attach_types::BPF_TRACE_RAW_TP;
use super::data::ProgramData;
use super::link::{LinkId, TracingLink};
use super::target::Target;
use super::tracing_type::{Names, TRACING, TracingType};
use super::trampoline::{Trampoline, tracing_program};
use crate::btf::Btf;
use crate::error::ProgramError;
use crate::feature::Feature;

static TP_BTF: TracingType = TracingType {
    name: "tp_btf",
    feature: Feature::BtfTracePoint,
    attach_type: BPF_TRACE_RAW_TP,
    cookie: Feature::BtfTracePointCookie,
    names: Names::TracePoint,
    actions: ["load a tp_btf program", "attach a tp_btf program"],
    ..TRACING
};

/// A program on a tracepoint, with the tracepoint's arguments by type: `SEC("tp_btf/TRACEPOINT")`.
///
/// The BTF of the kernel or of a loaded module has a type `btf_trace_TRACEPOINT`. `MODULE:TRACEPOINT` is a tracepoint of
/// that module. Minimum kernel for those of modules: 5.11. Source: see [`Feature::ModuleTarget`].
///
/// # Minimum kernel version
///
/// 5.5. Source: kernel commit f1b9509c2fb0 ("bpf: Replace prog_raw_tp+btf_id with prog_tracing").
///
/// # Example
///
/// ```no_run
/// # let mut ebpf = fexit::Ebpf::load_file("prog.bpf.o")?;
/// use fexit::{Btf, programs::BtfTracePoint};
///
/// let btf = Btf::from_sys_fs()?;
/// let program: &mut BtfTracePoint = ebpf.program_mut("on_switch").unwrap().try_into()?;
/// program.load("sched_switch", &btf)?;
/// program.attach()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct BtfTracePoint {
    pub(super) program: Trampoline,
}

/// One attachment of a tp_btf program.
pub type BtfTracePointLink = TracingLink;

/// Names one attachment of a tp_btf program.
pub type BtfTracePointLinkId = LinkId;

impl BtfTracePoint {
    pub(super) fn new(data: ProgramData) -> Self {
        Self {
            program: Trampoline::new(&TP_BTF, data),
        }
    }

    /// Loads the program for the tracepoint `tracepoint`, such as `sched_switch`. `btf` is the running kernel's.
    ///
    /// # Minimum kernel version
    ///
    /// 5.5.
    ///
    /// # Errors
    ///
    /// [`ProgramError::AlreadyLoaded`]; [`ProgramError::Btf`] when there is no such tracepoint;
    /// [`ProgramError::TargetRefused`] when the kernel allows no program on it; [`ProgramError::LoadError`] with the
    /// verifier's log; [`ProgramError::Unsupported`] when the kernel lacks a feature that the program requires.
    pub fn load(&mut self, tracepoint: &str, btf: &Btf) -> Result<(), ProgramError> {
        self.load_target(&Target::Function(tracepoint), btf)
    }
}

tracing_program!(
    BtfTracePoint,
    BtfTracePointLink,
    BtfTracePointLinkId,
    "5.5",
    "6.10"
);
