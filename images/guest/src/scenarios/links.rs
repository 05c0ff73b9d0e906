//! Links that the caller takes from the program.

use anyhow::Result;
use fexit::Btf;
use fexit::programs::ProgramError;

use super::counter::{Counter, expect, expect_error};
use crate::scenario::{Context, scenarios};

scenarios! {
    take_link(Fexit).parallel(): "a taken link keeps the program attached after unload and after its object is dropped";
    detach_unknown_link(Fexit).parallel():
        "the id of another program's link or of a detached link is refused, and nothing is detached";
}

fn take_link(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let (witness, _id) = Counter::attached(&btf)?;
    let (mut counter, id) = Counter::attached(&btf)?;
    let calls = counter.calls();

    let link = counter.program()?.take_link(id)?;
    expect(&[&witness.calls(), &calls], &[])?;
    drop(link);
    expect(&[&witness.calls()], &[&calls])?;

    let id = counter.program()?.attach()?;
    let link = counter.program()?.take_link(id)?;
    counter.program()?.unload()?;
    expect(&[&witness.calls(), &calls], &[])?;
    drop(counter);
    expect(&[&witness.calls(), &calls], &[])?;
    drop(link);
    expect(&[&witness.calls()], &[&calls])
}

fn detach_unknown_link(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let (mut one, id_of_one) = Counter::attached(&btf)?;
    let (mut two, id_of_two) = Counter::attached(&btf)?;
    let both = (one.calls(), two.calls());
    let not_attached = |error: &ProgramError| matches!(error, ProgramError::NotAttached);

    expect_error(
        "detach by another's id",
        two.program()?.detach(id_of_one),
        not_attached,
    )?;
    expect(&[&both.0, &both.1], &[])?;

    // Unload invalidates the id, even if the program is attached again.
    two.program()?.unload()?;
    two.program()?.load(super::counter::FUNCTION, &btf)?;
    let id_of_second = two.program()?.attach()?;
    expect_error(
        "detach by an old id",
        two.program()?.detach(id_of_two),
        not_attached,
    )?;
    expect(&[&both.0, &both.1], &[])?;
    expect_error(
        "take_link by another's id",
        one.program()?.take_link(id_of_second),
        not_attached,
    )?;
    expect(&[&both.0, &both.1], &[])
}
