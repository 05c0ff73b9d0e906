//! The kernel options without which a program type or a map type is not built in, or programs are not attached.
//!
//! Source: include/linux/bpf_types.h; for attach types kernel/bpf/trampoline.c and kernel/trace/Kconfig.

/// Program types, and the options that each needs.
#[rustfmt::skip]
const OF_PROGRAM_TYPES: [(&str, &[&str]); 28] = [
    ("SOCKET_FILTER", &["NET"]),
    ("SCHED_CLS", &["NET"]),
    ("SCHED_ACT", &["NET"]),
    ("XDP", &["NET"]),
    ("LWT_IN", &["NET"]),
    ("LWT_OUT", &["NET"]),
    ("LWT_XMIT", &["NET"]),
    ("LWT_SEG6LOCAL", &["NET"]),
    ("SOCK_OPS", &["NET"]),
    ("SK_SKB", &["NET"]),
    ("SK_MSG", &["NET"]),
    ("FLOW_DISSECTOR", &["NET"]),
    ("CGROUP_SKB", &["NET", "CGROUP_BPF"]),
    ("CGROUP_SOCK", &["NET", "CGROUP_BPF"]),
    ("CGROUP_SOCK_ADDR", &["NET", "CGROUP_BPF"]),
    ("CGROUP_DEVICE", &["CGROUP_BPF"]),
    ("CGROUP_SYSCTL", &["CGROUP_BPF"]),
    ("CGROUP_SOCKOPT", &["CGROUP_BPF"]),
    ("KPROBE", &["BPF_EVENTS"]),
    ("TRACEPOINT", &["BPF_EVENTS"]),
    ("PERF_EVENT", &["BPF_EVENTS"]),
    ("RAW_TRACEPOINT", &["BPF_EVENTS"]),
    ("TRACING", &["BPF_EVENTS"]),
    ("LIRC_MODE2", &["BPF_LIRC_MODE2"]),
    ("SK_LOOKUP", &["INET"]),
    ("LSM", &["BPF_LSM"]),
    ("NETFILTER", &["NETFILTER_BPF_LINK"]),
    ("STRUCT_OPS", &["BPF_JIT"]),
];

/// Map types, and the options that each needs.
const OF_MAP_TYPES: [(&str, &[&str]); 8] = [
    ("cgroup_array", &["CGROUPS"]),
    ("cgroup_storage", &["CGROUP_BPF"]),
    ("percpu_cgroup_storage", &["CGROUP_BPF"]),
    ("perf_event_array", &["PERF_EVENTS"]),
    ("stack_trace", &["PERF_EVENTS"]),
    ("xskmap", &["XDP_SOCKETS"]),
    ("inode_storage", &["BPF_LSM"]),
    ("struct_ops", &["BPF_JIT"]),
];

/// Attach types, and the options that each needs to attach programs to functions of the kernel. An architecture has the
/// first from the release on in which its trampolines can be attached to them: x86-64 5.5, arm64 6.4.
#[rustfmt::skip]
const OF_ATTACH_TYPES: [(&str, &[&str]); 11] = [
    ("TRACE_FENTRY", &["DYNAMIC_FTRACE_WITH_DIRECT_CALLS"]),
    ("TRACE_FEXIT", &["DYNAMIC_FTRACE_WITH_DIRECT_CALLS"]),
    ("MODIFY_RETURN", &["DYNAMIC_FTRACE_WITH_DIRECT_CALLS"]),
    ("TRACE_FSESSION", &["DYNAMIC_FTRACE_WITH_DIRECT_CALLS"]),
    ("LSM_MAC", &["DYNAMIC_FTRACE_WITH_DIRECT_CALLS"]),
    ("LSM_CGROUP", &["DYNAMIC_FTRACE_WITH_DIRECT_CALLS"]),
    ("TRACE_FENTRY_MULTI", &["HAVE_SINGLE_FTRACE_DIRECT_OPS"]),
    ("TRACE_FEXIT_MULTI", &["HAVE_SINGLE_FTRACE_DIRECT_OPS"]),
    ("TRACE_FSESSION_MULTI", &["HAVE_SINGLE_FTRACE_DIRECT_OPS"]),
    ("TRACE_KPROBE_MULTI", &["FPROBE"]),
    ("TRACE_KPROBE_SESSION", &["FPROBE"]),
];

/// The options that a program type needs, without `CONFIG_`.
pub(crate) fn options_of_program_type(name: &str) -> &'static [&'static str] {
    of(&OF_PROGRAM_TYPES, name)
}

/// The options that programs of an attach type need for functions of the kernel, without `CONFIG_`.
pub(crate) fn options_of_attach_type(name: &str) -> &'static [&'static str] {
    of(&OF_ATTACH_TYPES, name)
}

/// The options that a map type needs, without `CONFIG_`.
pub(crate) fn options_of_map_type(name: &str) -> &'static [&'static str] {
    of(&OF_MAP_TYPES, name)
}

fn of(rows: &[(&str, &'static [&'static str])], name: &str) -> &'static [&'static str] {
    rows.iter()
        .find(|row| row.0 == name)
        .map_or(&[], |row| row.1)
}
