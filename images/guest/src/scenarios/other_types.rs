//! Programs of types that the library loads and does not attach.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};
use fexit::programs::{Program, ProgramError};
use fexit::{Arch, Btf, Ebpf, KernelFiles, KernelVersion, MissingKind};

use crate::objects;
use crate::scenario::{Context, scenarios};

scenarios! {
    other_types().parallel():
        "programs of all other types pass the verifier, or the error names the first kernel with their type";
}

/// The sections whose types are newer than fexit, by the first release that has them.
const NEWER: [((u16, u16), &[&str]); 14] = [
    ((5, 6), &["struct_ops"]),
    (
        (5, 8),
        &[
            "iter",
            "xdp/devmap",
            "cgroup/getpeername4",
            "cgroup/getpeername6",
            "cgroup/getsockname4",
            "cgroup/getsockname6",
        ],
    ),
    ((5, 9), &["xdp/cpumap", "cgroup/sock_release", "sk_lookup"]),
    ((5, 10), &["iter.s"]),
    ((5, 13), &["sk_skb/verdict"]),
    ((5, 14), &["sk_reuseport/migrate", "syscall"]),
    (
        (5, 18),
        &[
            "kprobe.multi",
            "kretprobe.multi",
            "xdp.frags/devmap",
            "xdp.frags/cpumap",
            "xdp.frags",
        ],
    ),
    ((6, 0), &["uprobe.s", "uretprobe.s", "usdt.s", "lsm_cgroup"]),
    ((6, 3), &["struct_ops.s"]),
    ((6, 4), &["netfilter"]),
    (
        (6, 6),
        &[
            "uprobe.multi",
            "uretprobe.multi",
            "uprobe.multi.s",
            "uretprobe.multi.s",
            "tc/ingress",
            "tc/egress",
            "tcx/ingress",
            "tcx/egress",
        ],
    ),
    (
        (6, 7),
        &[
            "netkit/primary",
            "netkit/peer",
            "cgroup/connect_unix",
            "cgroup/sendmsg_unix",
            "cgroup/recvmsg_unix",
            "cgroup/getpeername_unix",
            "cgroup/getsockname_unix",
        ],
    ),
    ((6, 10), &["kprobe.session"]),
    ((6, 13), &["uprobe.session", "uprobe.session.s"]),
];

/// The first release that has the type of a section.
fn minimum(section: &str) -> KernelVersion {
    let is_it = |known: &&&str| {
        let rest = section.strip_prefix(**known);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let all = NEWER.iter().filter_map(|(minimum, sections)| {
        let longest = sections
            .iter()
            .filter(is_it)
            .map(|known| known.len())
            .max()?;
        Some((longest, *minimum))
    });
    let (_, (major, minor)) = all.max().unwrap_or((0, (4, 0)));
    KernelVersion::new(major, minor, 0)
}

fn other_types(context: &mut Context) -> Result<()> {
    let mut ebpf = Ebpf::load(objects::OTHER_TYPES)?;
    let running = KernelVersion::current();
    let btf = Btf::from_sys_fs()?;
    let listed = listed(&ebpf, &btf)?;
    let (mut loaded, mut refused, mut wrong) = (0, 0, Vec::new());
    for (name, program) in ebpf.programs_mut() {
        let section = program.section().to_owned();
        let minimum = minimum(&section);
        let Program::Other(program) = program else {
            bail!("{name} is of a type that is attached");
        };
        match program.load() {
            Ok(()) => {
                loaded += 1;
                context.has(&format!("programs of type {section}"), minimum);
            }
            Err(ProgramError::TooNew { too_new, .. })
                if minimum > running && too_new.iter().all(|new| new.minimum == minimum) =>
            {
                refused += 1;
            }
            Err(ProgramError::LoadError { verifier_log, .. })
                if BY_CONFIGURATION.contains(&name) && verifier_log.lines().count() <= 1 =>
            {
                refused += 1;
            }
            Err(ProgramError::NotLoadable { .. }) if NOT_LOADABLE.contains(&name) => refused += 1,
            // A kernel without CONFIG_SECURITY_NETWORK has no such hook.
            Err(ProgramError::Btf(_)) if name == ON_HOOK && !btf.has_function(HOOK) => refused += 1,
            // A vendor's kernel may list an attach type that it does not have.
            Err(ProgramError::LoadError { verifier_log, .. })
                if minimum > running && verifier_log.is_empty() && listed.contains(name) =>
            {
                refused += 1;
            }
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    context.measure("loaded", loaded);
    context.measure("refused", refused);
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// The programs whose program and attach types the kernel's BTF lists.
fn listed(ebpf: &Ebpf, btf: &Btf) -> Result<BTreeSet<String>> {
    let kernel = KernelFiles {
        btf,
        modules: &BTreeMap::new(),
        config: None,
    };
    let mut listed = BTreeSet::new();
    let arch = Arch::current().context("this architecture has no trampolines")?;
    for (name, required) in ebpf.requirements(arch)? {
        let missing = ebpf.missing(&name, &required, None, &kernel)?;
        let is_type = |kind| matches!(kind, MissingKind::ProgramType | MissingKind::AttachType);
        if !missing.iter().any(|missing| is_type(missing.kind)) {
            listed.insert(name);
        }
    }
    Ok(listed)
}

/// The program on a hook for networking, and the hook.
const ON_HOOK: &str = "on_lsm_cgroup";
const HOOK: &str = "bpf_lsm_socket_post_create";

/// The programs of types that not every kernel is built with: CONFIG_BPF_LIRC_MODE2, CONFIG_NETFILTER_BPF_LINK.
const BY_CONFIGURATION: [&str; 2] = ["on_lirc_mode2", "on_netfilter"];

/// The programs that no kernel could load as they are.
const NOT_LOADABLE: [&str; 2] = ["replaces", "unknown"];
