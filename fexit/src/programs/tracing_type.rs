//! The types of programs that a trampoline or a tracepoint calls.

use std::fmt;

use aya_obj::generated::bpf_prog_type::BPF_PROG_TYPE_TRACING;

use crate::feature::Feature;

/// The properties of a program type.
pub(super) struct TracingType {
    /// Its name in a section: `fexit`.
    pub(super) name: &'static str,
    /// The feature that a load requires.
    pub(super) feature: Feature,
    pub(super) prog_type: u32,
    pub(super) attach_type: u32,
    /// The attach type for many functions by one link.
    pub(super) multi_attach_type: Option<u32>,
    /// The feature that a cookie requires.
    pub(super) cookie: Feature,
    pub(super) names: Names,
    /// The actions for errors about capabilities: load, and attach.
    pub(super) actions: [&'static str; 2],
}

/// What the name of a target refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// A function of the kernel or of a module.
    Function,
    /// A hook of the security modules: the function `bpf_lsm_NAME`.
    Hook,
    /// A tracepoint: the typedef `btf_trace_NAME`.
    TracePoint,
}

/// The properties that most types share.
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
