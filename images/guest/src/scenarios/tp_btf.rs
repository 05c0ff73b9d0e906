//! Programs on tracepoints that see their arguments by type.

use anyhow::{Context as _, Result, ensure};
use fexit::programs::{BtfTracePoint, ProgramError};
use fexit::{Btf, BtfError, Ebpf, Feature};
use rustix::process::getppid;

use super::attachable::{self, program, types};
use super::counter::expect_error;
use super::fixture::start;
use crate::objects;
use crate::scenario::{Context, Scenario};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "tp_btf",
        "a tp_btf program sees each system call and its number, while it is attached",
        Feature::BtfTracePoint,
        tp_btf,
    )
    .parallel(),
    Scenario::new(
        "tp_btf_unknown",
        "the error about an unknown tracepoint suggests similar names",
        Feature::BtfTracePoint,
        unknown,
    )
    .parallel(),
    Scenario::new(
        "tp_btf_pin",
        "the link of a tp_btf program is pinned, found again and asked",
        Feature::LinkInfo,
        tp_btf_pin,
    )
    .parallel(),
    Scenario::new(
        "tp_btf_cookie",
        "a tp_btf program reads the cookie of its attachment",
        Feature::BtfTracePointCookie,
        tp_btf_cookie,
    )
    .parallel(),
];

/// The system call that the program counts.
fn ask() -> Result<()> {
    ensure!(getppid().is_some(), "this process has no parent");
    Ok(())
}

fn object() -> Result<Ebpf> {
    let ebpf = Ebpf::load(objects::TP_BTF)?;
    ebpf.set_global("number", libc::SYS_getppid)?;
    start(&ebpf)?;
    Ok(ebpf)
}

fn tp_btf(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let mut ebpf = object()?;
    attachable::lifecycle(&mut ebpf, "enters", &btf, &ask)?;
    // It sees the numbers: another call is not counted.
    program(&mut ebpf, "enters")?.load_section(&btf)?;
    program(&mut ebpf, "enters")?.attach(None)?;
    ebpf.set_global("number", libc::SYS_getpgid)?;
    let before: u64 = ebpf.global("calls")?;
    ask()?;
    super::fmod_ret::ask()?;
    let seen = ebpf.global::<u64>("calls")? - before;
    ensure!(seen == 1, "of one call of getpgid(2) it saw {seen}");
    Ok(())
}

fn unknown(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let mut ebpf = object()?;
    let enters: &mut BtfTracePoint = ebpf
        .program_mut("enters")
        .context("no program `enters`")?
        .try_into()?;
    let error = expect_error("sched_swich", enters.load("sched_swich", &btf), |error| {
        matches!(
            error,
            ProgramError::Btf(BtfError::UnknownBtfTypeName { .. })
        )
    })?;
    let text = error.to_string();
    ensure!(text.contains("sched_switch"), "no suggestion: {text}");
    let error = expect_error(
        "sys_enter_openat",
        enters.load("sys_enter_openat", &btf),
        |error| {
            matches!(
                error,
                ProgramError::Btf(BtfError::UnknownBtfTypeName { .. })
            )
        },
    )?;
    let text = error.to_string();
    ensure!(text.contains("`sys_enter`"), "no advice: {text}");
    Ok(())
}

fn tp_btf_pin(_: &mut Context) -> Result<()> {
    let mut ebpf = object()?;
    program(&mut ebpf, "enters")?
        .load_section(&types(Feature::BtfTracePoint, Feature::LinkInfo)?)?;
    // The kernel tells the name of the tracepoint in the place of an attach type.
    attachable::pin(&mut ebpf, "enters", "/sys/fs/bpf/tp_btf_pin", 0)
}

fn tp_btf_cookie(_: &mut Context) -> Result<()> {
    attachable::cookie(
        &mut object()?,
        &types(Feature::BtfTracePoint, Feature::BtfTracePointCookie)?,
        &ask,
    )
}
