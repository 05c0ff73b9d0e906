//! Loading and attaching with the least capabilities, and without them.

use std::fs;
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use fexit::programs::{ProgramError, loaded_links};
use fexit::{Btf, Ebpf};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use super::counter::{Counter, FUNCTION, expect, expect_error};
use crate::objects;
use crate::scenario::{Context, scenarios};

scenarios! {
    least_privilege(Capabilities):
        "CAP_BPF and CAP_PERFMON suffice to load, attach and detach; the library raises a low RLIMIT_MEMLOCK";
    no_privilege(Capabilities): "without CAP_BPF or CAP_PERFMON the error names the missing capability";
}

/// Runs `work` in a thread with only these capabilities; the process keeps all of them.
fn with_only<T: Send>(set: CapabilitySet, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let sets = CapabilitySets {
        effective: set,
        permitted: set,
        inheritable: CapabilitySet::empty(),
    };
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            set_capabilities(None, sets)?;
            work()
        });
        thread
            .join()
            .unwrap_or_else(|_| Err(anyhow!("the thread panicked")))
    })
}

fn least_privilege(_: &mut Context) -> Result<()> {
    // Before 5.11 BPF memory counts as locked. Raising the hard limit requires CAP_SYS_RESOURCE; the soft one, nothing.
    const LOW: Option<u64> = Some(4096);
    let limit = |current, maximum| setrlimit(Resource::Memlock, Rlimit { current, maximum });
    let btf = Btf::from_sys_fs()?;
    limit(LOW, LOW)?;
    let (counter, _id) = Counter::attached(&btf)?;
    expect(&[&counter.calls()], &[])?;
    drop(counter);
    limit(LOW, None)?;
    with_only(CapabilitySet::BPF | CapabilitySet::PERFMON, || {
        let (mut counter, id) = Counter::attached(&btf)?;
        expect(&[&counter.calls()], &[])?;
        Ok(counter.program()?.detach(id)?)
    })
}

fn no_privilege(_: &mut Context) -> Result<()> {
    setrlimit(
        Resource::Memlock,
        Rlimit {
            current: None,
            maximum: None,
        },
    )?;
    let btf = Btf::from_sys_fs()?;
    with_only(CapabilitySet::BPF, || {
        let error = match Counter::parsed()?.program()?.load(FUNCTION, &btf) {
            Err(refusal @ ProgramError::Unsupported(_)) => return Err(refusal.into()),
            other => {
                expect_error!("a load without CAP_PERFMON", other => ProgramError::Permission { .. })?
            }
        };
        let text = error.to_string();
        ensure!(
            text.contains("lacks CAP_PERFMON"),
            "the error does not name the missing capability: {text}"
        );
        Ok(())
    })?;
    // Without capabilities no map can be created, unless the sysctl allows unprivileged BPF.
    let unprivileged =
        fs::read_to_string("/proc/sys/kernel/unprivileged_bpf_disabled")?.trim() == "0";
    with_only(CapabilitySet::empty(), || {
        let ebpf = Ebpf::load(objects::COUNT_CALLS)?;
        let map = ebpf.map("calls").context("no map")?.fd().map(|_| ());
        if unprivileged {
            map?;
        } else {
            let error = expect_error("a map without CAP_BPF", map, |_| true)?;
            let text = error.to_string();
            ensure!(
                text.contains("`calls`") && text.contains("lacks CAP_BPF"),
                "the error does not name the missing capability: {text}"
            );
        }
        let load = Counter::loaded(&btf).map(drop);
        let error = expect_error("a load without CAP_BPF", load, |_| true)?;
        ensure!(error.to_string().contains("lacks CAP_BPF"), "{error}");
        let first = loaded_links().next().context("there is no link")?;
        let error = expect_error!("listing the links", first => ProgramError::Permission { .. })?;
        ensure!(error.to_string().contains("CAP_SYS_ADMIN"), "{error}");
        Ok(())
    })
}
