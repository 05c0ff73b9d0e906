//! Programs that newer kernels load: with exception callbacks, and with global variables in an arena.

use anyhow::{Context as _, Result, bail, ensure};
use fexit::programs::{FEntry, OtherProgram, ProgramError, Target};
use fexit::{Ebpf, Feature};

use super::attachable::types;
use super::fixture::start;
use crate::objects;
use crate::scenario::{Context, scenarios};

scenarios! {
    exceptions(Exceptions).parallel(): "an exception callback is appended to its program, and runs when the program throws";
    arena_globals(Arena).parallel(): "global variables in an arena have their initial values, and user space sets them";
    arena_first_page(Arena).parallel():
        "a program gets the first page of an arena with global variables, unless the kernel refuses large offsets";
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut OtherProgram> {
    let program = ebpf.program_mut(name).context("no program")?;
    Ok(program.try_into()?)
}

/// The result of the program for a packet of this length.
fn run(ebpf: &Ebpf, name: &str, length: usize) -> Result<u32> {
    let program = ebpf.program(name).context("no program")?;
    Ok(program.test_run(&vec![0; length])?.return_value)
}

fn exceptions(_: &mut Context) -> Result<()> {
    let mut ebpf = Ebpf::load(objects::EXCEPTIONS)?;
    for name in ["throws", "throws_alone"] {
        program(&mut ebpf, name)?.load()?;
    }
    let error = program(&mut ebpf, "misnamed")?.load().err();
    let error = error.context("a callback that does not exist is found")?;
    ensure!(error.to_string().contains("`no_such_function`"), "{error}");
    for (name, length, expected) in [
        ("throws", 64, 128),
        ("throws", 100, 203),
        ("throws_alone", 64, 7),
    ] {
        let found = run(&ebpf, name, length)?;
        ensure!(
            found == expected,
            "{name} gives {found} for {length} bytes, not {expected}"
        );
    }
    Ok(())
}

fn arena_globals(_: &mut Context) -> Result<()> {
    let mut ebpf = Ebpf::load(objects::ARENA)?;
    program(&mut ebpf, "uses_none")?.load()?;
    program(&mut ebpf, "sum")?.load()?;
    let sum = |expected: u32| {
        let found = run(&ebpf, "sum", 64)?;
        ensure!(
            found == expected,
            "the numbers in the arena add up to {found}, not {expected}"
        );
        Ok(())
    };
    sum(42)?;
    ebpf.set_global("first", 5u64)?;
    sum(7)
}

/// A kernel that refuses large offsets into maps has the variables in the first page.
fn arena_first_page(context: &mut Context) -> Result<()> {
    let btf = types(Feature::FEntry, Feature::Arena)?;
    let mut ebpf = Ebpf::load(objects::ARENA)?;
    let first_page: &mut FEntry = ebpf
        .program_mut("first_page")
        .context("no program")?
        .try_into()?;
    first_page.load_target(&Target::Section, &btf)?;
    let Err(ProgramError::LoadError { verifier_log, .. }) = program(&mut ebpf, "far_away")?.load()
    else {
        bail!("a program that reads outside of a map's value is not refused by the verifier");
    };
    let is_free = !verifier_log.contains("direct value offset of");
    context.measure("is_free", is_free);
    start(&ebpf)?;
    let first_page: &mut FEntry = ebpf
        .program_mut("first_page")
        .context("no program")?
        .try_into()?;
    let _link = first_page.attach()?;
    first_page.test_run()?;
    let allocated: u64 = ebpf.global("allocated")?;
    ensure!(
        (allocated != 0) == is_free,
        "the program got the page {allocated:#x}; the log of far_away: {verifier_log}"
    );
    let second: u64 = ebpf.global("second")?;
    ensure!(second == 2, "the second number is {second}");
    Ok(())
}
