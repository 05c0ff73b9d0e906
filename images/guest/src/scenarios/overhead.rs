//! The overhead of fexit on a call of its target, compared with other attach types.

use std::ffi::CString;
use std::io;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aya::programs::{FEntry, KProbe};
use fexit::{Btf, Ebpf, KernelVersion};
use rustix::process::getppid;

use super::fixture::fexit;
use crate::objects;
use crate::scenario::{Context, scenarios};
use crate::sys::attach_kretprobe_multi;

scenarios! {
    overhead(Fexit).timeout(Duration::from_secs(120)):
        "measures the nanoseconds that fexit, fentry, kprobe, kretprobe and kretprobe.multi add to a call";
}

/// The function of getppid(2), from 5.7 on and before.
const FUNCTIONS: [&str; 2] = ["__do_sys_getppid", "__x64_sys_getppid"];
const CALLS: u32 = 1_000;
const ROUNDS: u32 = 5;

/// Nanoseconds of one call: the minimum of several rounds, because other load only adds to it.
fn per_call() -> f64 {
    let round = |_| {
        let start = Instant::now();
        for _ in 0..CALLS {
            std::hint::black_box(getppid());
        }
        start.elapsed()
    };
    let quickest = (0..ROUNDS).map(round).min().unwrap_or_default();
    quickest.as_secs_f64() * 1e9 / f64::from(CALLS)
}

fn overhead(context: &mut Context) -> Result<()> {
    let bare = per_call();
    context.measure("bare_ns", bare.round());
    let mut added = |name: &str| context.measure(name, (per_call() - bare).round());

    let btf = Btf::from_sys_fs()?;
    let function = FUNCTIONS
        .into_iter()
        .find(|name| btf.has_function(name))
        .context("no function of getppid(2)")?;
    let mut ours = Ebpf::load(objects::OVERHEAD)?;
    for (program, name) in [
        ("fexit_empty", "fexit_empty_added_ns"),
        ("fexit_counting", "fexit_counting_added_ns"),
    ] {
        let fexit = fexit(&mut ours, program)?;
        fexit.load(function, &btf)?;
        fexit.attach()?;
        added(name);
        fexit.unload()?;
    }
    let calls: u64 = ours.global("calls")?;
    let expected = u64::from(CALLS * ROUNDS);
    ensure!(
        calls >= expected,
        "the counting program ran {calls} of {expected} times"
    );

    // aya loads the programs of the other types. A kernel without kprobes still gives the other figures.
    let btf = aya::Btf::from_sys_fs()?;
    let mut theirs = aya::Ebpf::load(objects::OVERHEAD)?;
    let fentry: &mut FEntry = theirs
        .program_mut("fentry_empty")
        .context("no program")?
        .try_into()?;
    fentry.load(function, &btf)?;
    fentry.attach()?;
    added("fentry_empty_added_ns");
    fentry.unload()?;
    for (program, name) in [
        ("kprobe_empty", "kprobe_empty_added_ns"),
        ("kretprobe_empty", "kretprobe_empty_added_ns"),
    ] {
        let probe: &mut KProbe = theirs
            .program_mut(program)
            .context("no program")?
            .try_into()?;
        probe.load()?;
        if probe.attach(function, 0).is_ok() {
            added(name);
        }
        probe.unload()?;
    }
    match attach_kretprobe_multi(&CString::new(function)?) {
        Ok(_link) => added("kretprobe_multi_empty_added_ns"),
        // Before 5.18, or in a kernel built without FPROBE.
        Err(error)
            if KernelVersion::current() < KernelVersion::new(5, 18, 0)
                || error.kind() == io::ErrorKind::Unsupported => {}
        Err(error) => return Err(error).context("cannot attach a kretprobe by a link"),
    }
    Ok(())
}
