//! Programs on tracepoints that see their arguments by type.

use std::ffi::CStr;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use fexit::programs::{BtfTracePoint, ProgramError, Target};
use fexit::{Btf, BtfError, Ebpf, Feature};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::getppid;

use super::attachable::{self, program, types};
use super::fixture::{need_module, start};
use crate::objects;
use crate::scenario::{Context, scenarios};

scenarios! {
    tp_btf(BtfTracePoint).without_functions().parallel(): "a tp_btf program sees each system call and its number, while it is attached";
    tp_btf_unknown(BtfTracePoint).without_functions().parallel(): "the error about an unknown tracepoint suggests similar names";
    tp_btf_pin(LinkInfo).without_functions().parallel(): "the link of a tp_btf program is pinned, found again and asked";
    tp_btf_cookie(BtfTracePointCookie).without_functions().parallel(): "a tp_btf program reads the cookie of its attachment";
    tp_btf_module(ModuleTarget).modules(&["null_blk"]):
        "a tracepoint of a module is a target: from the section, or as module:tracepoint; an unknown one is named";
}

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

fn tp_btf_unknown(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let mut ebpf = object()?;
    let enters: &mut BtfTracePoint = ebpf
        .program_mut("enters")
        .context("no program `enters`")?
        .try_into()?;
    let error = expect_error!(
        "sched_swich",
        enters.load("sched_swich", &btf) => ProgramError::Btf(BtfError::UnknownBtfTypeName { .. })
    )?;
    let text = error.to_string();
    ensure!(text.contains("sched_switch"), "no suggestion: {text}");
    let error = expect_error!(
        "sys_enter_openat",
        enters.load("sys_enter_openat", &btf) => ProgramError::Btf(BtfError::UnknownBtfTypeName { .. })
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

fn tp_btf_module(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    need_module("null_blk", &btf)?;
    let mut ebpf = object()?;
    for target in [
        Target::Section,
        Target::Function("null_blk:nullb_report_zones"),
    ] {
        let before: u64 = ebpf.global("calls")?;
        let reports = ebpf.program_mut("reports").context("no such program")?;
        reports.load_target(&target, &btf)?;
        let link = reports.attach()?;
        read_zones()?;
        let calls = ebpf.global::<u64>("calls")? - before;
        let zones: u32 = ebpf.global("seen_zones")?;
        ensure!(
            calls > 0 && zones == ZONES,
            "{target:?}: it saw {calls} calls, the last with {zones} zones"
        );
        let reports = ebpf.program_mut("reports").context("no such program")?;
        reports.detach(link)?;
        read_zones()?;
        let after = ebpf.global::<u64>("calls")? - before;
        ensure!(after == calls, "{target:?}: it ran after detach");
        ebpf.program_mut("reports")
            .context("no such program")?
            .unload()?;
    }
    for target in [
        "null_blk:nullb_report_zone",
        "no_such_module:nullb_report_zones",
    ] {
        let reports = ebpf.program_mut("reports").context("no such program")?;
        let load = reports.load_target(&Target::Function(target), &btf);
        let error = expect_error!(
            target,
            load => ProgramError::Btf(BtfError::UnknownBtfTypeName { .. } | BtfError::UnknownModule { .. })
        )?;
        let text = error.to_string();
        let named = ["nullb_report_zones", "no_such_module"];
        ensure!(named.iter().any(|name| text.contains(name)), "{text}");
    }
    Ok(())
}

/// The zones of the device that is made by [`read_zones`].
const ZONES: u32 = 16;

/// Makes a device with zones, turns it on, which reads its zones, and removes it.
fn read_zones() -> Result<()> {
    const CONFIG: &str = "/sys/kernel/config";
    const DEVICE: &str = "/sys/kernel/config/nullb/zones";
    mount(
        "configfs",
        CONFIG,
        "configfs",
        MountFlags::empty(),
        None::<&CStr>,
    )?;
    let set = |name: &str, value: &str| {
        let path = Path::new(DEVICE).join(name);
        fs::write(&path, value).with_context(|| format!("cannot write {value} to {name}"))
    };
    fs::create_dir(DEVICE).context("cannot make a device")?;
    // Sizes in MiB.
    for (name, value) in [("zoned", "1"), ("zone_size", "4"), ("size", "64")] {
        set(name, value)?;
    }
    set("power", "1")?;
    set("power", "0")?;
    fs::remove_dir(DEVICE)?;
    unmount(CONFIG, UnmountFlags::empty())?;
    Ok(())
}

fn tp_btf_cookie(_: &mut Context) -> Result<()> {
    attachable::cookie(
        &mut object()?,
        &types(Feature::BtfTracePoint, Feature::BtfTracePointCookie)?,
        &ask,
    )
}
