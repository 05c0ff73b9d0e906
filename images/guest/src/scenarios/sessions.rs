//! Sessions: one program for entry and exit of a function; and one program on many functions.

use anyhow::{Result, ensure};
use fexit::programs::{FExitLink, Target};
use fexit::{Btf, Ebpf};

use super::fixture::fexit;
use crate::objects;
use crate::scenario::{Context, scenarios};

scenarios! {
    session(Session): "an fsession program runs at entry and at exit, and can tell which";
    many_functions(Multi): "one link attaches a program or a session to many functions";
}

const COOKIE: u64 = 0x1234_5678_9abc_def0;

fn session(_: &mut Context) -> Result<()> {
    let mut ebpf = Ebpf::load(objects::SESSION)?;
    let session = fexit(&mut ebpf, "session")?;
    ensure!(
        session.is_session(),
        "the program is not taken for a session"
    );
    session.load("bpf_fentry_test1", &Btf::from_sys_fs()?)?;
    session.attach_with_cookie(COOKIE)?;
    session.test_run()?;
    let seen: (u64, u64) = (ebpf.global("entries")?, ebpf.global("exits")?);
    ensure!(
        seen == (1, 1),
        "one call was entered and left {seen:?} times"
    );
    let (entry, exit, ret): (i32, i32, i32) = (
        ebpf.global("entry_arg")?,
        ebpf.global("exit_arg")?,
        ebpf.global("exit_ret")?,
    );
    ensure!(
        (entry, exit, ret) == (1, 1, 2),
        "it saw {entry} at entry, {exit} and {ret} at exit"
    );
    expect_cookie(&ebpf)
}

fn expect_cookie(ebpf: &Ebpf) -> Result<()> {
    let cookie: u64 = ebpf.global("cookie")?;
    ensure!(cookie == COOKIE, "the program read the cookie {cookie:#x}");
    Ok(())
}

fn many_functions(_: &mut Context) -> Result<()> {
    const FUNCTIONS: [&str; 3] = ["bpf_fentry_test1", "bpf_fentry_test2", "bpf_fentry_test3"];
    let btf = Btf::from_sys_fs()?;
    let mut ebpf = Ebpf::load(objects::SESSION)?;
    let many = fexit(&mut ebpf, "many")?;
    many.load_target(&Target::Functions(&FUNCTIONS), &btf)?;
    let id = many.attach_with_cookie(COOKIE)?;
    let link = many.take_link(id)?;

    // Another program makes the calls, so that they go on after the link is dropped.
    let mut caller = Ebpf::load(objects::FENTRY_TEST)?;
    let one = fexit(&mut caller, "one")?;
    one.load_target(&Target::Section, &btf)?;
    one.test_run()?;
    let calls = |ebpf: &Ebpf| ebpf.global::<u64>("calls");
    ensure!(
        calls(&ebpf)? == 3,
        "three functions were called, it ran {} times",
        calls(&ebpf)?
    );
    expect_cookie(&ebpf)?;
    let pinned = link.pin("/sys/fs/bpf/many_functions")?;
    let found = FExitLink::from_pin(pinned.path())?;
    ensure!(
        found.info()?.id == link.info()?.id,
        "another link is pinned"
    );
    drop((pinned.unpin()?, found));
    one.test_run()?;
    ensure!(calls(&ebpf)? == 6, "it ran {} times", calls(&ebpf)?);
    drop(link);
    one.test_run()?;
    ensure!(
        calls(&ebpf)? == 6,
        "it still ran after its link was dropped"
    );

    // The glob in the section matches all of the kernel's test functions: six in 5.5, more since.
    let many = fexit(&mut ebpf, "many")?;
    many.unload()?;
    many.load_target(&Target::Section, &btf)?;
    many.attach()?;
    one.test_run()?;
    let calls = calls(&ebpf)?;
    ensure!(
        calls >= 6 + 6,
        "the pattern's functions made it run {} times",
        calls - 6
    );
    fexit(&mut ebpf, "many")?.unload()?;

    let session = fexit(&mut ebpf, "session_many")?;
    session.load_target(&Target::Section, &btf)?;
    session.attach_with_cookie(COOKIE)?;
    one.test_run()?;
    let seen: (u64, u64) = (ebpf.global("many_entries")?, ebpf.global("many_exits")?);
    ensure!(
        seen.0 >= 6 && seen.0 == seen.1,
        "a session on many functions saw {seen:?} entries and exits"
    );
    expect_cookie(&ebpf)
}
