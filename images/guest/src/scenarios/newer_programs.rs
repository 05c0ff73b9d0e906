//! Programs that newer kernels load: with exception callbacks, and with global variables in an arena.

use anyhow::{Context as _, Result, bail, ensure};
use fexit::programs::OtherProgram;
use fexit::{Ebpf, KernelVersion};

use crate::objects;
use crate::scenario::{Context, scenarios};

scenarios! {
    exceptions().parallel(): "an exception callback is appended to its program, and runs when the program throws";
    arena_globals().parallel(): "global variables in an arena have their initial values, and user space sets them";
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

fn exceptions(context: &mut Context) -> Result<()> {
    let mut ebpf = Ebpf::load(objects::EXCEPTIONS)?;
    let is_new = KernelVersion::current() >= KernelVersion::new(6, 7, 0);
    for name in ["throws", "throws_alone"] {
        match program(&mut ebpf, name)?.load() {
            Ok(()) => context.measure(name, 1),
            Err(error) if is_new => bail!("{name}: {error}"),
            // A vendor's kernel may have the function, and not allow it to this type.
            Err(error) => ensure!(error.to_string().contains("bpf_throw"), "{name}: {error}"),
        }
    }
    let misnamed = program(&mut ebpf, "misnamed")?.load();
    // Before 5.16 the kernel cannot be told of callbacks.
    if KernelVersion::current() >= KernelVersion::new(5, 16, 0) {
        let error = misnamed
            .err()
            .context("a callback that does not exist is found")?;
        ensure!(error.to_string().contains("`no_such_function`"), "{error}");
    }
    if !is_new {
        return Ok(());
    }
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
    match program(&mut ebpf, "sum")?.load() {
        Ok(()) => {}
        Err(error) if KernelVersion::current() >= KernelVersion::new(6, 9, 0) => {
            return Err(error.into());
        }
        Err(error) => {
            let text = error.to_string();
            ensure!(text.contains("arena") && text.contains("6.9"), "{text}");
            return Ok(());
        }
    }
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
