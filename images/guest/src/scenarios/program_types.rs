//! Programs of several types in one object.

use anyhow::{Context as _, Result, ensure};
use fexit::Ebpf;
use fexit::programs::{FEntry, FExit, OtherProgram, ProgramError};

use super::counter::expect_error;
use crate::objects;
use crate::scenario::{Context, scenarios};

scenarios! {
    wrong_program_kind().parallel():
        "a program of another type does not convert to FExit, and the error names both types";
}

fn wrong_program_kind(_: &mut Context) -> Result<()> {
    let mut ebpf = Ebpf::load(objects::PROGRAM_TYPES)?;
    for (name, kind) in [
        ("on_exit", "fexit"),
        ("on_packet", "xdp"),
        ("on_trap", "kprobe"),
    ] {
        let program = ebpf
            .program(name)
            .with_context(|| format!("no program `{name}`"))?;
        ensure!(
            program.kind() == kind,
            "`{name}` has the type {}, not {kind}",
            program.kind()
        );
        let shared = <&FExit>::try_from(program).map(|_| ());
        let other = <&OtherProgram>::try_from(program).map(|_| ());
        let program = ebpf.program_mut(name).context("gone")?;
        let exclusive = <&mut FExit>::try_from(program).map(|_| ());
        if kind == "fexit" {
            shared?;
            exclusive?;
            let error = expect_error("fexit as another type", other, is_wrong_type)?.to_string();
            ensure!(
                error.contains("`fexit`"),
                "the error does not name the type: {error}"
            );
            continue;
        }
        other?;
        for result in [shared, exclusive] {
            let error = expect_error("another type as fexit", result, is_wrong_type)?.to_string();
            let named = [name, kind, "fexit"]
                .iter()
                .all(|word| error.contains(&format!("`{word}`")));
            ensure!(
                named,
                "the error does not name the program and both types: {error}"
            );
        }
    }
    let entry = ebpf.program("on_entry").context("no program `on_entry`")?;
    ensure!(entry.kind() == "fentry", "its type is {}", entry.kind());
    <&FEntry>::try_from(entry)?;
    let conversion = <&FExit>::try_from(entry).map(|_| ());
    expect_error("fentry as fexit", conversion, is_wrong_type)?;
    ensure!(
        ebpf.program("on_nothing").is_none(),
        "a program that does not exist was found"
    );
    Ok(())
}

fn is_wrong_type(error: &ProgramError) -> bool {
    matches!(error, ProgramError::UnexpectedProgramType { .. })
}
