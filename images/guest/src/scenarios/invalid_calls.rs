//! Calls in the wrong order, and unknown functions: each gives one clear error and changes nothing.

use anyhow::{Result, ensure};
use fexit::programs::ProgramError;
use fexit::{Btf, BtfError};

use super::counter::{Counter, FUNCTION, expect, expect_error};
use crate::scenario::{Context, scenarios};

scenarios! {
    attach_before_load(Fexit).parallel(): "attach, fd and unload before load say that the program is not loaded";
    load_twice(Fexit).parallel(): "a second load is refused, and the loaded program stays usable";
    attach_twice(Fexit).parallel():
        "a second attach is refused while the first link exists, and the program runs once per call";
    unknown_function(Fexit).parallel():
        "the error for a function that is not in BTF names it and a similar one that is";
}

fn attach_before_load(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let mut counter = Counter::parsed()?;
    let not_loaded = |error: &ProgramError| matches!(error, ProgramError::NotLoaded);
    let program = counter.program()?;
    expect_error("attach before load", program.attach(), not_loaded)?;
    expect_error("fd before load", program.fd().map(|_| ()), not_loaded)?;
    expect_error("info before load", program.info(), not_loaded)?;
    expect_error("unload before load", program.unload(), not_loaded)?;
    program.load(FUNCTION, &btf)?;
    program.attach()?;
    expect(&[&counter.calls()], &[])
}

fn load_twice(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let mut counter = Counter::loaded(&btf)?;
    let already = |error: &ProgramError| matches!(error, ProgramError::AlreadyLoaded);
    let id = counter.program()?.info()?.id;
    expect_error(
        "a second load",
        counter.program()?.load(FUNCTION, &btf),
        already,
    )?;
    expect_error(
        "a load for another function",
        counter.program()?.load("vfs_open", &btf),
        already,
    )?;
    ensure!(
        counter.program()?.info()?.id == id,
        "the refused load replaced the program"
    );
    counter.program()?.attach()?;
    expect(&[&counter.calls()], &[])
}

fn attach_twice(_: &mut Context) -> Result<()> {
    let (mut counter, id) = Counter::attached(&Btf::from_sys_fs()?)?;
    let calls = counter.calls();
    let already = |error: &ProgramError| matches!(error, ProgramError::AlreadyAttached);
    expect_error("a second attach", counter.program()?.attach(), already)?;
    expect(&[&calls], &[])?;
    let link = counter.program()?.take_link(id)?;
    expect_error(
        "attach while the link is taken",
        counter.program()?.attach(),
        already,
    )?;
    expect(&[&calls], &[])?;
    link.detach()?;
    counter.program()?.attach()?;
    expect(&[&calls], &[])
}

fn unknown_function(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let mut counter = Counter::parsed()?;
    let error = expect_error!(
        "load for a function that does not exist",
        counter.program()?.load("filename_lookop", &btf) => ProgramError::Btf(BtfError::UnknownBtfTypeName { .. })
    )?;
    let text = error.to_string();
    ensure!(
        text.contains("`filename_lookop`"),
        "the error does not name the function: {text}"
    );
    ensure!(
        text.contains("filename_lookup"),
        "the error does not name a similar function: {text}"
    );
    // BTF has the name `inode`, but not for a function.
    expect_error!(
        "load for a struct",
        counter.program()?.load("inode", &btf) => ProgramError::Btf(BtfError::UnknownBtfTypeName { .. })
    )?;
    counter.program()?.load(FUNCTION, &btf)?;
    counter.program()?.attach()?;
    expect(&[&counter.calls()], &[])
}
