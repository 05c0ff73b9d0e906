//! Load, attach, detach, unload, and each of them again.

use std::fs;
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fexit::programs::ProgramError;
use fexit::{Btf, Feature};
use rustix::fs::{CWD, Mode, OFlags, openat};

use super::counter::{Counter, expect, expect_error, is_in_kernel};
use super::fixture::closed_on_exec;
use crate::scenario::{Context, poll_until, scenarios};

scenarios! {
    load(Fexit).parallel(): "a loaded program is in the kernel under its name, and does not run before attach";
    attach(Fexit).parallel(): "an attached program runs once for each call";
    detach(Fexit).parallel(): "a detached program does not run any more";
    unload(Fexit).parallel(): "unload detaches the links that the program owns, and the kernel frees the program";
    reload(Fexit).parallel(): "after unload a program can be loaded again, for the same or another function";
    reattach(Fexit).parallel():
        "a program can be detached and attached repeatedly, also where the kernel cannot attach it again";
    debug_and_fd(Fexit).parallel():
        "Debug output names the program and its links, and its descriptor is closed on exec";
}

fn load(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let (witness, _id) = Counter::attached(&btf)?;
    let mut counter = Counter::loaded(&btf)?;
    let info = counter.program()?.info()?;
    ensure!(
        info.name == "count_calls",
        "the kernel calls the program `{}`",
        info.name
    );
    ensure!(
        is_in_kernel(info.id),
        "the kernel has no program {}",
        info.id
    );
    ensure!(
        prog_type(&mut counter)? == "26",
        "its type is not BPF_PROG_TYPE_TRACING"
    );
    expect(&[&witness.calls()], &[&counter.calls()])
}

fn attach(_: &mut Context) -> Result<()> {
    let (counter, _id) = Counter::attached(&Btf::from_sys_fs()?)?;
    expect(&[&counter.calls()], &[])
}

fn detach(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let (witness, _id) = Counter::attached(&btf)?;
    let (mut counter, id) = Counter::attached(&btf)?;
    expect(&[&witness.calls(), &counter.calls()], &[])?;
    counter.program()?.detach(id)?;
    expect(&[&witness.calls()], &[&counter.calls()])?;
    let id = counter.program()?.info()?.id;
    ensure!(is_in_kernel(id), "detach unloaded the program as well");
    Ok(())
}

fn unload(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let (witness, _id) = Counter::attached(&btf)?;
    let (mut counter, link_id) = Counter::attached(&btf)?;
    let id = counter.program()?.info()?.id;
    expect(&[&witness.calls(), &counter.calls()], &[])?;
    ensure!(
        is_in_kernel(id),
        "the kernel has no program {id} while it is loaded"
    );

    counter.program()?.unload()?;
    expect(&[&witness.calls()], &[&counter.calls()])?;
    poll_until(
        "an unloaded program leaves the kernel",
        Duration::from_secs(10),
        || Ok((!is_in_kernel(id)).then_some(())),
    )?;
    let program = counter.program()?;
    let not_loaded = |error: &ProgramError| matches!(error, ProgramError::NotLoaded);
    expect_error("fd after unload", program.fd().map(|_| ()), not_loaded)?;
    expect_error("unload after unload", program.unload(), not_loaded)?;
    expect_error("attach after unload", program.attach(), not_loaded)?;
    let not_attached = |error: &ProgramError| matches!(error, ProgramError::NotAttached);
    expect_error("detach after unload", program.detach(link_id), not_attached)?;
    Ok(())
}

fn reload(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let (mut counter, _id) = Counter::attached(&btf)?;
    let calls = counter.calls();
    expect(&[&calls], &[])?;

    counter.program()?.unload()?;
    counter.program()?.load(super::counter::FUNCTION, &btf)?;
    let (witness, _id) = Counter::attached(&btf)?;
    expect(&[&witness.calls()], &[&calls])?;
    counter.program()?.attach()?;
    expect(&[&witness.calls(), &calls], &[])?;

    counter.program()?.unload()?;
    counter.program()?.load("vfs_open", &btf)?;
    counter.program()?.attach()?;
    expect(&[&witness.calls()], &[&calls])?;
    let before = calls.get()?;
    openat(CWD, "/dev/null", OFlags::RDONLY, Mode::empty())?;
    let seen = calls.get()? - before;
    ensure!(
        seen == 1,
        "loaded for vfs_open, the program saw {seen} calls of it, not one"
    );
    Ok(())
}

fn reattach(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let (keeps_running, _id) = Counter::attached(&btf)?;
    let mut counter = Counter::loaded(&btf)?;
    let (witness, calls) = (keeps_running.calls(), counter.calls());
    let first = counter.program()?.info()?.id;
    for _ in 0..3 {
        let id = counter.program()?.attach()?;
        expect(&[&witness, &calls], &[])?;
        counter.program()?.detach(id)?;
        expect(&[&witness], &[&calls])?;
    }
    // From 5.13 on the kernel can attach it again: then it stays the same program.
    let same = counter.program()?.info()?.id == first;
    ensure!(
        Some(same) == Feature::LinkTarget.is_in(&btf),
        "the program was {} loaded anew",
        if same { "not" } else { "needlessly" }
    );
    // The same with a link that was taken and dropped.
    let id = counter.program()?.attach()?;
    let link = counter.program()?.take_link(id)?;
    expect(&[&witness, &calls], &[])?;
    drop(link);
    expect(&[&witness], &[&calls])?;
    counter.program()?.attach()?;
    expect(&[&witness, &calls], &[])
}

fn debug_and_fd(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let mut counter = Counter::parsed()?;
    let parsed = format!("{:?}", counter.program()?);
    ensure!(
        parsed.contains("count_calls"),
        "Debug does not name the program: {parsed}"
    );
    ensure!(
        counter.program()?.raw_fd().is_none(),
        "a program that is not loaded has a descriptor"
    );

    counter.program()?.load(super::counter::FUNCTION, &btf)?;
    let loaded = format!("{:?}", counter.program()?);
    let id = counter.program()?.attach()?;
    let attached = format!("{:?} {id:?}", counter.program()?);
    ensure!(
        parsed != loaded && loaded != attached,
        "Debug does not tell the states apart"
    );
    for text in [&attached, &format!("{btf:?}")] {
        ensure!(
            text.len() < 2000,
            "Debug shows {} bytes: {text}",
            text.len()
        );
    }

    ensure!(
        prog_type(&mut counter)? == "26",
        "the descriptor is not a tracing program's"
    );
    let raw_fd = counter.program()?.fd()?.as_raw_fd();
    closed_on_exec()?;
    ensure!(
        counter.program()?.raw_fd() == Some(raw_fd),
        "raw_fd and fd differ"
    );

    // The program owns the descriptor: a copy keeps the program in the kernel after unload.
    let copy = counter.program()?.fd()?.try_clone_to_owned()?;
    let id = counter.program()?.info()?.id;
    drop(counter);
    ensure!(
        is_in_kernel(id),
        "the copied descriptor does not hold the program"
    );
    drop(copy);
    poll_until(
        "the program leaves the kernel with its last descriptor",
        Duration::from_secs(10),
        || Ok((!is_in_kernel(id)).then_some(())),
    )
}

/// The program type that the kernel reports for the descriptor.
fn prog_type(counter: &mut Counter) -> Result<String> {
    let path = format!("/proc/self/fdinfo/{}", counter.program()?.fd()?.as_raw_fd());
    let info = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("prog_type:"));
    Ok(line
        .with_context(|| format!("no program behind the descriptor: {info}"))?
        .trim()
        .to_owned())
}
