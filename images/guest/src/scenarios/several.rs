//! Several programs on one function, and one program several times.

use std::time::Duration;

use anyhow::{Result, ensure};
use fexit::programs::ProgramError;
use fexit::{Btf, Feature};

use super::counter::{Counter, expect, expect_error};
use crate::scenario::{Context, Scenario};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "reattach",
        "detach, then attach again, as often as wanted: also where the kernel itself cannot",
        Feature::Fexit,
        reattach,
    ),
    Scenario::new(
        "many_programs",
        "programs on one function all run, up to the kernel's limit, which the error names",
        Feature::Fexit,
        many_programs,
    )
    .timeout(Duration::from_secs(120)),
];

fn reattach(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let (keeps_running, _id) = Counter::attached(&btf)?;
    let mut counter = Counter::loaded(&btf)?;
    let (witness, calls) = (keeps_running.calls(), counter.calls());
    for _ in 0..3 {
        let id = counter.program()?.attach()?;
        expect(&[&witness, &calls], &[])?;
        counter.program()?.detach(id)?;
        expect(&[&witness], &[&calls])?;
    }
    // The same with a link that was taken, and dropped.
    let id = counter.program()?.attach()?;
    let link = counter.program()?.take_link(id)?;
    expect(&[&witness, &calls], &[])?;
    drop(link);
    expect(&[&witness], &[&calls])?;
    counter.program()?.attach()?;
    expect(&[&witness, &calls], &[])
}

fn many_programs(context: &mut Context) -> Result<()> {
    /// More than any kernel allows: 40 before 5.12, 38 since, fewer where other kinds take room.
    const ENOUGH: usize = 64;
    const E2BIG: i32 = 7;
    let btf = Btf::from_sys_fs()?;
    let mut counters: Vec<Counter> = Vec::new();
    let error = loop {
        ensure!(counters.len() < ENOUGH, "no limit up to {ENOUGH} programs");
        let mut counter = Counter::loaded(&btf)?;
        match counter.program()?.attach() {
            Ok(_) => counters.push(counter),
            Err(error) => break error,
        }
    };
    context.measure("programs", counters.len());
    let refused: Result<(), _> = Err(error);
    let error = expect_error(
        "an attach beyond the limit",
        refused,
        |error| matches!(error, ProgramError::AttachError { io_error, .. } if io_error.raw_os_error() == Some(E2BIG)),
    )?;
    let text = error.to_string();
    ensure!(
        text.contains("36 to 40"),
        "the error does not name the limit: {text}"
    );
    let programs = counters.len();
    ensure!(
        (36..=40).contains(&programs),
        "the limit is at {programs} programs"
    );

    let calls: Vec<_> = counters.iter().map(Counter::calls).collect();
    expect(&calls.iter().collect::<Vec<_>>(), &[])?;
    // Room for one is enough for one more.
    counters.truncate(counters.len() - 1);
    let (last, _id) = Counter::attached(&btf)?;
    let calls: Vec<_> = counters.iter().chain([&last]).map(Counter::calls).collect();
    expect(&calls.iter().collect::<Vec<_>>(), &[])
}
