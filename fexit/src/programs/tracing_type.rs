//! What tells the types of programs from one another that a trampoline or a tracepoint calls.

use std::fmt;

use aya_obj::generated::bpf_prog_type::BPF_PROG_TYPE_TRACING;

use crate::feature::Feature;

/// What is special about a type of program.
pub(super) struct TracingType {
    /// As its section says: `fexit`.
    pub(super) name: &'static str,
    /// What a kernel must have to load it.
    pub(super) feature: Feature,
    pub(super) prog_type: u32,
    pub(super) attach_type: u32,
    /// The attach type for many functions by one link.
    pub(super) multi_attach_type: Option<u32>,
    /// What a kernel must have to attach it with a cookie.
    pub(super) cookie: Feature,
    pub(super) names: Names,
    /// What is not permitted without the capabilities: to load it, and to attach it.
    pub(super) actions: [&'static str; 2],
}

/// What the name of a target means, in a section or in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// A function of the kernel or of a module.
    Function,
    /// A hook of the security modules: the function `bpf_lsm_NAME`.
    Hook,
    /// A tracepoint: the typedef `btf_trace_NAME`.
    TracePoint,
}

/// What most types have.
pub(super) const TRACING: TracingType = TracingType {
    name: "",
    feature: Feature::Fexit,
    prog_type: BPF_PROG_TYPE_TRACING as u32,
    attach_type: 0,
    multi_attach_type: None,
    cookie: Feature::Cookie,
    names: Names::Function,
    actions: ["load a tracing program", "attach a tracing program"],
};

impl fmt::Debug for TracingType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
