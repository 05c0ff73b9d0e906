//! Interoperation with aya: either side can own the target or read the map.

use std::os::fd::AsFd;

use anyhow::{Context as _, Result, ensure};
use aya::programs::{TestRun, TestRunOptions};
use fexit::programs::Target;
use fexit::{Btf, Ebpf};

use super::counter::{Counter, look_up};
use super::fixture::fexit;
use crate::objects;
use crate::scenario::{Context, scenarios};

scenarios! {
    target_of_aya(ProgramTarget).without_functions().parallel(): "a program that aya loaded can be a target, by its descriptor";
    map_read_by_aya(Fexit).parallel(): "aya reads a map of fexit, through its descriptor";
}

fn target_of_aya(_: &mut Context) -> Result<()> {
    let mut theirs = aya::Ebpf::load(objects::XDP_TARGET)?;
    let xdp: &mut aya::programs::Xdp = theirs
        .program_mut("verdict")
        .context("no program")?
        .try_into()?;
    xdp.load()?;
    let mut ours = Ebpf::load(objects::TRACE_XDP)?;
    let on_verdict = fexit(&mut ours, "on_verdict")?;
    let target = Target::Program {
        fd: xdp.fd()?.as_fd(),
        function: None,
    };
    on_verdict.load_target(&target, &Btf::from_sys_fs()?)?;
    on_verdict.attach()?;

    let options = TestRunOptions {
        data_in: Some(&[0; 64]),
        ..TestRunOptions::new()
    };
    let verdict = xdp.test_run(options)?.return_value;
    let (calls, seen): (u64, i32) = (ours.global("calls")?, ours.global("seen_ret")?);
    ensure!(calls == 1, "our program ran {calls} times, not once");
    ensure!(
        seen == verdict.cast_signed(),
        "it saw {seen}, aya {verdict}"
    );
    Ok(())
}

fn map_read_by_aya(_: &mut Context) -> Result<()> {
    let (counter, _) = Counter::attached(&Btf::from_sys_fs()?)?;
    let fd = counter.map()?.fd()?.try_clone_to_owned()?;
    let map = aya::maps::Map::Array(aya::maps::MapData::from_fd(fd)?);
    let theirs: aya::maps::Array<_, u64> = map.try_into()?;
    let before = theirs.get(&0, 0)?;
    for _ in 0..3 {
        look_up()?;
    }
    let seen = theirs.get(&0, 0)? - before;
    ensure!(seen >= 3, "aya read {seen} of 3 calls");
    ensure!(
        theirs.get(&0, 0)? == counter.calls().get()?,
        "aya and we read different counts"
    );
    Ok(())
}
