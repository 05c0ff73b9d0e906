//! fentry programs.

use anyhow::{Context as _, Result, ensure};
use fexit::programs::{FEntry, OtherProgram, Target};
use fexit::{Btf, Ebpf, Feature};
use rustix::fs::{AtFlags, CWD, statat};

use super::attachable::{self, program, types};
use super::counter::look_up;
use super::fixture::start;
use crate::objects;
use crate::scenario::{Context, scenarios};

scenarios! {
    fentry(FEntry).parallel(): "an fentry program sees each call and its arguments, while it is attached";
    fentry_and_fexit(FEntry).parallel():
        "an fentry and an fexit program of one object run together, the entry before the exit";
    fentry_of_program(ProgramTarget).without_functions().parallel():
        "an fentry program sees the arguments of a subprogram of a BPF program";
    fentry_pin(LinkInfo).parallel(): "the link of an fentry program is pinned, found again and asked";
    fentry_cookie(Cookie).parallel(): "an fentry program reads the cookie of its attachment";
    fentry_multi(Multi): "one link attaches an fentry program to many functions";
}

fn object() -> Result<Ebpf> {
    let ebpf = Ebpf::load(objects::FENTRY)?;
    start(&ebpf)?;
    Ok(ebpf)
}

fn fentry(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let mut ebpf = object()?;
    attachable::lifecycle(&mut ebpf, "entry", &btf, &look_up)?;

    program(&mut ebpf, "entry")?.load_section(&btf)?;
    program(&mut ebpf, "entry")?.attach(None)?;
    // LOOKUP_FOLLOW, unless AT_SYMLINK_NOFOLLOW is given. faccessat2(2), which takes flags too, exists from 5.8 on.
    for (flags, expected) in [(AtFlags::empty(), 1), (AtFlags::SYMLINK_NOFOLLOW, 0)] {
        statat(CWD, c"/", flags | AtFlags::NO_AUTOMOUNT)?;
        let dfd: i32 = ebpf.global("seen_dfd")?;
        let flags: u32 = ebpf.global("seen_flags")?;
        ensure!(
            (dfd, flags) == (-100, expected),
            "it saw the descriptor {dfd} and the flags {flags}"
        );
    }
    Ok(())
}

fn fentry_and_fexit(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let mut ebpf = object()?;
    for name in ["leave", "entry"] {
        program(&mut ebpf, name)?.load_section(&btf)?;
        program(&mut ebpf, name)?.attach(None)?;
    }
    let counts = |ebpf: &Ebpf| -> Result<(u64, u64, u64)> {
        Ok((
            ebpf.global("calls")?,
            ebpf.global("exits")?,
            ebpf.global("exits_at_entry")?,
        ))
    };
    let before = counts(&ebpf)?;
    for call in 1..=5 {
        look_up()?;
        let after = counts(&ebpf)?;
        ensure!(
            (after.0 - before.0, after.1 - before.1) == (call, call),
            "{call} calls were entered and left {after:?} times, from {before:?} on"
        );
        ensure!(
            after.2 + 1 == after.1,
            "the entry of call {call} came after its exit: {after:?}"
        );
    }
    // Each goes on without the other.
    program(&mut ebpf, "leave")?.unload()?;
    let before = counts(&ebpf)?;
    look_up()?;
    let after = counts(&ebpf)?;
    ensure!(
        (after.0, after.1) == (before.0 + 1, before.1),
        "after the fexit program was unloaded, one call made {before:?} {after:?}"
    );
    Ok(())
}

fn fentry_of_program(_: &mut Context) -> Result<()> {
    const LEN: i32 = 640;
    let mut xdp = Ebpf::load(objects::XDP_TARGET)?;
    let target = xdp.program_mut("verdict").context("no program `verdict`")?;
    <&mut OtherProgram>::try_from(&mut *target)?.load()?;
    let mut ebpf = object()?;
    let program: &mut FEntry = ebpf
        .program_mut("on_shifted")
        .context("no program `on_shifted`")?
        .try_into()?;
    program.load_target(
        &Target::program(target, Some("shifted"))?,
        &Btf::from_sys_fs()?,
    )?;
    program.attach()?;
    target.test_run(&[0; LEN as usize])?;
    let seen: (u64, i32) = (
        ebpf.global("calls_of_subprogram")?,
        ebpf.global("seen_len")?,
    );
    ensure!(
        seen == (1, LEN),
        "of one call with {LEN} it saw {} with {}",
        seen.0,
        seen.1
    );
    Ok(())
}

fn fentry_pin(_: &mut Context) -> Result<()> {
    const BPF_TRACE_FENTRY: u32 = 24;
    let mut ebpf = object()?;
    program(&mut ebpf, "entry")?.load_section(&types(Feature::FEntry, Feature::LinkInfo)?)?;
    attachable::pin(
        &mut ebpf,
        "entry",
        "/sys/fs/bpf/fentry_pin",
        BPF_TRACE_FENTRY,
    )
}

fn fentry_cookie(_: &mut Context) -> Result<()> {
    attachable::cookie(
        &mut object()?,
        &types(Feature::FEntry, Feature::Cookie)?,
        &look_up,
    )
}

fn fentry_multi(_: &mut Context) -> Result<()> {
    const FUNCTIONS: [&str; 3] = ["bpf_fentry_test1", "bpf_fentry_test2", "bpf_fentry_test3"];
    let btf = types(Feature::FEntry, Feature::Multi)?;
    let mut ebpf = object()?;
    let many: &mut FEntry = ebpf
        .program_mut("many")
        .context("no program `many`")?
        .try_into()?;
    many.load_target(&Target::Functions(&FUNCTIONS), &btf)?;
    let id = many.attach()?;
    many.test_run()?;
    many.detach(id)?;
    many.test_run()?;
    let calls: u64 = ebpf.global("calls_of_many")?;
    ensure!(
        calls == 3,
        "three functions were called, it ran {calls} times"
    );
    Ok(())
}
