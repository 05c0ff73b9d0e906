//! Program types by section.
//!
//! Sections and attach types are those of libbpf 1.7 (`section_defs` in src/libbpf.c); releases and commits are
//! those that added the program type or the attach type, whichever is later.

use super::on_arch::first_release;
use super::too_new::TooNew;
use crate::arch::Arch;
use crate::btf::Btf;
use crate::kernel_version::KernelVersion;

/// Section, program type, attach type, first release, and its commit. An attach type that is the kernel's default is
/// omitted: those of `xdp` (5.9) and `sk_reuseport` (5.14) are newer than the program types.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    (u16, u16),
    &'static str,
);

#[rustfmt::skip]
const SECTIONS: [Row; 94] = [
    ("socket", "SOCKET_FILTER", "", (3, 19), "ddd872bc3098"),
    ("sk_reuseport/migrate", "SK_REUSEPORT", "SK_REUSEPORT_SELECT_OR_MIGRATE", (5, 14), "d5e4ddaeb6ab"),
    ("sk_reuseport", "SK_REUSEPORT", "", (4, 19), "2dbb9b9e6df6"),
    ("kprobe", "KPROBE", "", (4, 1), "2541517c32be"),
    ("uprobe", "KPROBE", "", (4, 1), "2541517c32be"),
    ("uprobe.s", "KPROBE", "", (6, 0), "8c7dcb84e3b7"),
    ("kretprobe", "KPROBE", "", (4, 1), "2541517c32be"),
    ("uretprobe", "KPROBE", "", (4, 1), "2541517c32be"),
    ("uretprobe.s", "KPROBE", "", (6, 0), "8c7dcb84e3b7"),
    ("kprobe.multi", "KPROBE", "TRACE_KPROBE_MULTI", (5, 18), "0dcac2725406"),
    ("kretprobe.multi", "KPROBE", "TRACE_KPROBE_MULTI", (5, 18), "0dcac2725406"),
    ("kprobe.session", "KPROBE", "TRACE_KPROBE_SESSION", (6, 10), "535a3692ba72"),
    ("uprobe.multi", "KPROBE", "TRACE_UPROBE_MULTI", (6, 6), "89ae89f53d20"),
    ("uretprobe.multi", "KPROBE", "TRACE_UPROBE_MULTI", (6, 6), "89ae89f53d20"),
    ("uprobe.session", "KPROBE", "TRACE_UPROBE_SESSION", (6, 13), "d920179b3d48"),
    ("uprobe.multi.s", "KPROBE", "TRACE_UPROBE_MULTI", (6, 6), "89ae89f53d20"),
    ("uretprobe.multi.s", "KPROBE", "TRACE_UPROBE_MULTI", (6, 6), "89ae89f53d20"),
    ("uprobe.session.s", "KPROBE", "TRACE_UPROBE_SESSION", (6, 13), "d920179b3d48"),
    ("ksyscall", "KPROBE", "", (4, 1), "2541517c32be"),
    ("kretsyscall", "KPROBE", "", (4, 1), "2541517c32be"),
    ("usdt", "KPROBE", "", (4, 1), "2541517c32be"),
    ("usdt.s", "KPROBE", "", (6, 0), "8c7dcb84e3b7"),
    ("tc/ingress", "SCHED_CLS", "TCX_INGRESS", (6, 6), "e420bed02507"),
    ("tc/egress", "SCHED_CLS", "TCX_EGRESS", (6, 6), "e420bed02507"),
    ("tcx/ingress", "SCHED_CLS", "TCX_INGRESS", (6, 6), "e420bed02507"),
    ("tcx/egress", "SCHED_CLS", "TCX_EGRESS", (6, 6), "e420bed02507"),
    ("tc", "SCHED_CLS", "", (4, 1), "96be4325f443"),
    ("classifier", "SCHED_CLS", "", (4, 1), "96be4325f443"),
    ("action", "SCHED_ACT", "", (4, 1), "94caee8c312d"),
    ("netkit/primary", "SCHED_CLS", "NETKIT_PRIMARY", (6, 7), "35dfaad7188c"),
    ("netkit/peer", "SCHED_CLS", "NETKIT_PEER", (6, 7), "35dfaad7188c"),
    ("tracepoint", "TRACEPOINT", "", (4, 7), "98b5c2c65c29"),
    ("tp", "TRACEPOINT", "", (4, 7), "98b5c2c65c29"),
    ("raw_tracepoint", "RAW_TRACEPOINT", "", (4, 17), "c4f6699dfcb8"),
    ("raw_tp", "RAW_TRACEPOINT", "", (4, 17), "c4f6699dfcb8"),
    ("raw_tracepoint.w", "RAW_TRACEPOINT_WRITABLE", "", (5, 2), "9df1c28bb752"),
    ("raw_tp.w", "RAW_TRACEPOINT_WRITABLE", "", (5, 2), "9df1c28bb752"),
    ("lsm_cgroup", "LSM", "LSM_CGROUP", (6, 0), "69fd337a975c"),
    ("iter", "TRACING", "TRACE_ITER", (5, 8), "15d83c4d7cef"),
    ("iter.s", "TRACING", "TRACE_ITER", (5, 10), "1e6c62a88215"), // runs where it may sleep from 5.18 on, b77fb25dcb34
    ("struct_ops", "STRUCT_OPS", "", (5, 6), "27ae7997a661"), // of a module from 6.9 on, fcc2c1fb0651
    ("struct_ops.s", "STRUCT_OPS", "", (6, 3), "1e12d3ef47d2"),
    ("syscall", "SYSCALL", "", (5, 14), "79a7f8bdb159"),
    ("xdp.frags/devmap", "XDP", "XDP_DEVMAP", (5, 18), "c2f2cdbeffda"),
    ("xdp/devmap", "XDP", "XDP_DEVMAP", (5, 8), "fbee97feed9b"),
    ("xdp.frags/cpumap", "XDP", "XDP_CPUMAP", (5, 18), "c2f2cdbeffda"),
    ("xdp/cpumap", "XDP", "XDP_CPUMAP", (5, 9), "9216477449f3"),
    ("xdp.frags", "XDP", "", (5, 18), "c2f2cdbeffda"),
    ("xdp", "XDP", "", (4, 8), "6a773a15a1e8"),
    ("perf_event", "PERF_EVENT", "", (4, 9), "0515e5999a46"),
    ("lwt_in", "LWT_IN", "", (4, 10), "3a0af8fd61f9"),
    ("lwt_out", "LWT_OUT", "", (4, 10), "3a0af8fd61f9"),
    ("lwt_xmit", "LWT_XMIT", "", (4, 10), "3a0af8fd61f9"),
    ("lwt_seg6local", "LWT_SEG6LOCAL", "", (4, 18), "004d4b274e2a"),
    ("sockops", "SOCK_OPS", "CGROUP_SOCK_OPS", (4, 13), "40304b2a1567"),
    ("sk_skb/stream_parser", "SK_SKB", "SK_SKB_STREAM_PARSER", (4, 14), "464bc0fd6273"),
    ("sk_skb/stream_verdict", "SK_SKB", "SK_SKB_STREAM_VERDICT", (4, 14), "464bc0fd6273"),
    ("sk_skb/verdict", "SK_SKB", "SK_SKB_VERDICT", (5, 13), "a7ba4558e69a"),
    ("sk_skb", "SK_SKB", "", (4, 14), "b005fd189cec"),
    ("sk_msg", "SK_MSG", "SK_MSG_VERDICT", (4, 17), "4f738adba30a"),
    ("lirc_mode2", "LIRC_MODE2", "LIRC_MODE2", (4, 18), "f4364dcfc86d"),
    ("flow_dissector", "FLOW_DISSECTOR", "FLOW_DISSECTOR", (4, 20), "d58e468b1112"),
    ("cgroup_skb/ingress", "CGROUP_SKB", "CGROUP_INET_INGRESS", (4, 10), "0e33661de493"),
    ("cgroup_skb/egress", "CGROUP_SKB", "CGROUP_INET_EGRESS", (4, 10), "0e33661de493"),
    ("cgroup/skb", "CGROUP_SKB", "", (4, 10), "0e33661de493"),
    ("cgroup/sock_create", "CGROUP_SOCK", "CGROUP_INET_SOCK_CREATE", (4, 10), "610236587600"),
    ("cgroup/sock_release", "CGROUP_SOCK", "CGROUP_INET_SOCK_RELEASE", (5, 9), "f5836749c9c0"),
    ("cgroup/sock", "CGROUP_SOCK", "CGROUP_INET_SOCK_CREATE", (4, 10), "610236587600"),
    ("cgroup/post_bind4", "CGROUP_SOCK", "CGROUP_INET4_POST_BIND", (4, 17), "aac3fc320d94"),
    ("cgroup/post_bind6", "CGROUP_SOCK", "CGROUP_INET6_POST_BIND", (4, 17), "aac3fc320d94"),
    ("cgroup/bind4", "CGROUP_SOCK_ADDR", "CGROUP_INET4_BIND", (4, 17), "4fbac77d2d09"),
    ("cgroup/bind6", "CGROUP_SOCK_ADDR", "CGROUP_INET6_BIND", (4, 17), "4fbac77d2d09"),
    ("cgroup/connect4", "CGROUP_SOCK_ADDR", "CGROUP_INET4_CONNECT", (4, 17), "d74bad4e74ee"),
    ("cgroup/connect6", "CGROUP_SOCK_ADDR", "CGROUP_INET6_CONNECT", (4, 17), "d74bad4e74ee"),
    ("cgroup/connect_unix", "CGROUP_SOCK_ADDR", "CGROUP_UNIX_CONNECT", (6, 7), "859051dd165e"),
    ("cgroup/sendmsg4", "CGROUP_SOCK_ADDR", "CGROUP_UDP4_SENDMSG", (4, 18), "1cedee13d25a"),
    ("cgroup/sendmsg6", "CGROUP_SOCK_ADDR", "CGROUP_UDP6_SENDMSG", (4, 18), "1cedee13d25a"),
    ("cgroup/sendmsg_unix", "CGROUP_SOCK_ADDR", "CGROUP_UNIX_SENDMSG", (6, 7), "859051dd165e"),
    ("cgroup/recvmsg4", "CGROUP_SOCK_ADDR", "CGROUP_UDP4_RECVMSG", (5, 2), "983695fa6765"),
    ("cgroup/recvmsg6", "CGROUP_SOCK_ADDR", "CGROUP_UDP6_RECVMSG", (5, 2), "983695fa6765"),
    ("cgroup/recvmsg_unix", "CGROUP_SOCK_ADDR", "CGROUP_UNIX_RECVMSG", (6, 7), "859051dd165e"),
    ("cgroup/getpeername4", "CGROUP_SOCK_ADDR", "CGROUP_INET4_GETPEERNAME", (5, 8), "1b66d253610c"),
    ("cgroup/getpeername6", "CGROUP_SOCK_ADDR", "CGROUP_INET6_GETPEERNAME", (5, 8), "1b66d253610c"),
    ("cgroup/getpeername_unix", "CGROUP_SOCK_ADDR", "CGROUP_UNIX_GETPEERNAME", (6, 7), "859051dd165e"),
    ("cgroup/getsockname4", "CGROUP_SOCK_ADDR", "CGROUP_INET4_GETSOCKNAME", (5, 8), "1b66d253610c"),
    ("cgroup/getsockname6", "CGROUP_SOCK_ADDR", "CGROUP_INET6_GETSOCKNAME", (5, 8), "1b66d253610c"),
    ("cgroup/getsockname_unix", "CGROUP_SOCK_ADDR", "CGROUP_UNIX_GETSOCKNAME", (6, 7), "859051dd165e"),
    ("cgroup/sysctl", "CGROUP_SYSCTL", "CGROUP_SYSCTL", (5, 2), "7b146cebe30c"),
    ("cgroup/getsockopt", "CGROUP_SOCKOPT", "CGROUP_GETSOCKOPT", (5, 3), "0d01da6afc54"),
    ("cgroup/setsockopt", "CGROUP_SOCKOPT", "CGROUP_SETSOCKOPT", (5, 3), "0d01da6afc54"),
    ("cgroup/dev", "CGROUP_DEVICE", "CGROUP_DEVICE", (4, 15), "ebc614f68736"),
    ("sk_lookup", "SK_LOOKUP", "SK_LOOKUP", (5, 9), "e9ddbb7707ff"),
    ("netfilter", "NETFILTER", "NETFILTER", (6, 4), "84601d6ee68a"),
    ("cgroup_skb", "CGROUP_SKB", "", (4, 10), "0e33661de493"),
];

/// `BPF_PROG_TYPE_*` by number.
#[rustfmt::skip]
const PROG_TYPES: [&str; 33] = [
    "UNSPEC", "SOCKET_FILTER", "KPROBE", "SCHED_CLS", "SCHED_ACT", "TRACEPOINT", "XDP", "PERF_EVENT", "CGROUP_SKB",
    "CGROUP_SOCK", "LWT_IN", "LWT_OUT", "LWT_XMIT", "SOCK_OPS", "SK_SKB", "CGROUP_DEVICE", "SK_MSG", "RAW_TRACEPOINT",
    "CGROUP_SOCK_ADDR", "LWT_SEG6LOCAL", "LIRC_MODE2", "SK_REUSEPORT", "FLOW_DISSECTOR", "CGROUP_SYSCTL",
    "RAW_TRACEPOINT_WRITABLE", "CGROUP_SOCKOPT", "TRACING", "STRUCT_OPS", "EXT", "LSM", "SK_LOOKUP", "SYSCALL",
    "NETFILTER",
];

/// `BPF_*` of `enum bpf_attach_type` by number.
#[rustfmt::skip]
const ATTACH_TYPES: [&str; 58] = [
    "CGROUP_INET_INGRESS", "CGROUP_INET_EGRESS", "CGROUP_INET_SOCK_CREATE", "CGROUP_SOCK_OPS", "SK_SKB_STREAM_PARSER",
    "SK_SKB_STREAM_VERDICT", "CGROUP_DEVICE", "SK_MSG_VERDICT", "CGROUP_INET4_BIND", "CGROUP_INET6_BIND",
    "CGROUP_INET4_CONNECT", "CGROUP_INET6_CONNECT", "CGROUP_INET4_POST_BIND", "CGROUP_INET6_POST_BIND",
    "CGROUP_UDP4_SENDMSG", "CGROUP_UDP6_SENDMSG", "LIRC_MODE2", "FLOW_DISSECTOR", "CGROUP_SYSCTL",
    "CGROUP_UDP4_RECVMSG", "CGROUP_UDP6_RECVMSG", "CGROUP_GETSOCKOPT", "CGROUP_SETSOCKOPT", "TRACE_RAW_TP",
    "TRACE_FENTRY", "TRACE_FEXIT", "MODIFY_RETURN", "LSM_MAC", "TRACE_ITER", "CGROUP_INET4_GETPEERNAME",
    "CGROUP_INET6_GETPEERNAME", "CGROUP_INET4_GETSOCKNAME", "CGROUP_INET6_GETSOCKNAME", "XDP_DEVMAP",
    "CGROUP_INET_SOCK_RELEASE", "XDP_CPUMAP", "SK_LOOKUP", "XDP", "SK_SKB_VERDICT", "SK_REUSEPORT_SELECT",
    "SK_REUSEPORT_SELECT_OR_MIGRATE", "PERF_EVENT", "TRACE_KPROBE_MULTI", "LSM_CGROUP", "STRUCT_OPS", "NETFILTER",
    "TCX_INGRESS", "TCX_EGRESS", "TRACE_UPROBE_MULTI", "CGROUP_UNIX_CONNECT", "CGROUP_UNIX_SENDMSG",
    "CGROUP_UNIX_RECVMSG", "CGROUP_UNIX_GETPEERNAME", "CGROUP_UNIX_GETSOCKNAME", "NETKIT_PRIMARY", "NETKIT_PEER",
    "TRACE_KPROBE_SESSION", "TRACE_UPROBE_SESSION",
];

/// The program type and attach type of a section.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProgramType {
    row: &'static Row,
    pub(crate) prog_type: u32,
    pub(crate) attach_type: u32,
}

/// The program type of this section, without the `?` of optional programs. After a slash, any other text may be the
/// target or a name.
pub(crate) fn program_type(section: &str) -> Option<ProgramType> {
    let is_in = |row: &&Row| {
        let rest = section.strip_prefix(row.0);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let row = SECTIONS
        .iter()
        .filter(is_in)
        .max_by_key(|row| row.0.len())?;
    Some(ProgramType {
        row,
        prog_type: number(&PROG_TYPES, row.1)?,
        attach_type: match row.2 {
            "" => 0,
            name => number(&ATTACH_TYPES, name)?,
        },
    })
}

fn number(names: &[&str], name: &str) -> Option<u32> {
    let at = names.iter().position(|known| *known == name)?;
    u32::try_from(at).ok()
}

impl ProgramType {
    /// Whether its programs are sleepable.
    pub(crate) fn is_sleepable(&self) -> bool {
        self.row.0.ends_with(".s") || self.row.0 == "syscall"
    }

    /// Whether its programs accept packets with fragments.
    pub(crate) fn takes_fragments(&self) -> bool {
        self.row.0.starts_with("xdp.frags")
    }

    /// Whether its programs implement functions of a struct of the kernel.
    pub(crate) fn is_struct_ops(&self) -> bool {
        self.row.1 == "STRUCT_OPS"
    }

    /// The prefix of the kernel function that is the target, if the type has one; the section has the rest of its name.
    pub(crate) fn target(&self) -> Option<&'static str> {
        match self.row.0 {
            "iter" | "iter.s" => Some("bpf_iter_"),
            "lsm_cgroup" => Some("bpf_lsm_"),
            _ => None,
        }
    }

    /// The first release that has it on x86-64.
    pub(crate) fn minimum(&self) -> KernelVersion {
        let (major, minor) = self.row.3;
        KernelVersion::new(major, minor, 0)
    }

    /// The first release that has it on an architecture, and the kernel commit that added it.
    pub(crate) fn first_release(&self, arch: Arch) -> (KernelVersion, &'static str) {
        first_release(arch, self.row.0, (self.minimum(), self.row.4))
    }

    /// The name of its sections.
    pub(crate) fn section(&self) -> &'static str {
        self.row.0
    }

    /// The program type, and the attach type if one is given.
    pub(crate) fn names(&self) -> (&'static str, Option<&'static str>) {
        (self.row.1, (!self.row.2.is_empty()).then_some(self.row.2))
    }

    pub(crate) fn too_new(&self) -> TooNew {
        TooNew {
            what: format!("the program type `{}`", self.row.0),
            minimum: self.minimum(),
        }
    }

    /// Whether the kernel lacks it, by its BTF. Checked before a load, because some kernels accept attach types that
    /// they do not know.
    pub(crate) fn is_missing(&self, btf: &Btf) -> bool {
        let lacks = |values: &str, prefix: &str, name: &str| {
            let known = btf.enum_values(values);
            !known.is_empty() && !known.contains(format!("{prefix}{name}").as_bytes())
        };
        lacks("bpf_prog_type", "BPF_PROG_TYPE_", self.row.1)
            || !self.row.2.is_empty() && lacks("bpf_attach_type", "BPF_", self.row.2)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use aya_obj::generated::{bpf_attach_type as a, bpf_prog_type as p};

    use super::*;

    #[test]
    fn sections_are_unique_and_their_types_have_numbers() {
        let mut seen = BTreeSet::new();
        for (section, ..) in SECTIONS {
            assert!(seen.insert(section), "{section}");
            let found = program_type(section).unwrap();
            assert_eq!(found.row.0, section);
            assert!(found.row.4.len() == 12, "{section}");
        }
    }

    #[test]
    fn numbers_are_those_of_the_kernels_header() {
        for (name, value) in [
            ("XDP", p::BPF_PROG_TYPE_XDP as u32),
            ("CGROUP_SOCKOPT", p::BPF_PROG_TYPE_CGROUP_SOCKOPT as u32),
            ("LSM", p::BPF_PROG_TYPE_LSM as u32),
            ("NETFILTER", p::BPF_PROG_TYPE_NETFILTER as u32),
        ] {
            assert_eq!(number(&PROG_TYPES, name), Some(value), "{name}");
        }
        for (name, value) in [
            ("CGROUP_INET_INGRESS", a::BPF_CGROUP_INET_INGRESS as u32),
            ("LSM_MAC", a::BPF_LSM_MAC as u32),
            ("SK_LOOKUP", a::BPF_SK_LOOKUP as u32),
            ("TRACE_KPROBE_MULTI", a::BPF_TRACE_KPROBE_MULTI as u32),
            ("NETKIT_PEER", a::BPF_NETKIT_PEER as u32),
            ("TRACE_UPROBE_SESSION", 57),
        ] {
            assert_eq!(number(&ATTACH_TYPES, name), Some(value), "{name}");
        }
    }

    #[test]
    fn longest_matching_section_is_used() {
        let section = |name| program_type(name).map(|found| found.row.0);
        for (name, expected) in [
            ("xdp", Some("xdp")),
            ("xdp/pass", Some("xdp")),
            ("xdp/devmap", Some("xdp/devmap")),
            ("xdp.frags/pass", Some("xdp.frags")),
            ("xdpx", None),
            ("tc", Some("tc")),
            ("tc/ingress", Some("tc/ingress")),
            ("cgroup/connect4", Some("cgroup/connect4")),
            ("cgroup/connect", None),
            ("cgroup_skb/egress/name", Some("cgroup_skb/egress")),
            ("iter.s/task", Some("iter.s")),
            ("kprobe.multi/vfs_*", Some("kprobe.multi")),
            ("uprobe.multi.s//bin/true:main", Some("uprobe.multi.s")),
            ("fexit/vfs_open", None),
            ("freplace/main", None),
            ("struct_ops/init", Some("struct_ops")),
            ("struct_ops.s", Some("struct_ops.s")),
        ] {
            assert_eq!(section(name), expected, "{name}");
        }
    }

    #[test]
    fn type_that_the_kernel_btf_does_not_list_is_missing() {
        let types = |source: &str| {
            let btf = crate::elf::examine(&crate::testing::compile(source)).unwrap();
            Btf::parse(&btf.1.btf, crate::Endianness::default()).unwrap()
        };
        let old = types(
            "enum bpf_prog_type { BPF_PROG_TYPE_KPROBE = 2 }; enum bpf_prog_type p;
             enum bpf_attach_type { BPF_TRACE_KPROBE_MULTI = 42 }; enum bpf_attach_type a;",
        );
        for (section, missing) in [
            ("kprobe", false),
            ("kprobe.multi", false),
            ("kprobe.session", true),
            ("netfilter", true),
        ] {
            let found = program_type(section).unwrap();
            assert_eq!(found.is_missing(&old), missing, "{section}");
        }
        let silent = types("int a;");
        assert!(!program_type("netfilter").unwrap().is_missing(&silent));
    }
}
