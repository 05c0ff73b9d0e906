//! Programs of several kinds in one object.

use anyhow::{Context as _, Result, ensure};
use fexit::Ebpf;
use fexit::programs::{FExit, OtherProgram, ProgramError};

use super::counter::expect_error;
use crate::objects;
use crate::scenario::{Context, Scenario};

pub(super) const SCENARIOS: &[Scenario] = &[Scenario::on_every_kernel(
    "wrong_program_kind",
    "a program of another kind is not taken for an fexit program, and the error names both kinds",
    wrong_program_kind,
)
.beside_others()];

fn wrong_program_kind(_: &mut Context) -> Result<()> {
    let mut ebpf = Ebpf::load(objects::KINDS)?;
    for (name, kind) in [
        ("on_exit", "fexit"),
        ("on_entry", "fentry"),
        ("on_packet", "xdp"),
        ("on_trap", "kprobe"),
    ] {
        let program = ebpf
            .program(name)
            .with_context(|| format!("no program `{name}`"))?;
        ensure!(
            program.kind() == kind,
            "`{name}` is of kind {}, not {kind}",
            program.kind()
        );
        let shared = <&FExit>::try_from(program).map(|_| ());
        let other = <&OtherProgram>::try_from(program).map(|_| ());
        let program = ebpf.program_mut(name).context("gone")?;
        let exclusive = <&mut FExit>::try_from(program).map(|_| ());
        if kind == "fexit" {
            shared?;
            exclusive?;
            let error = expect_error("fexit as another kind", other, is_wrong_kind)?.to_string();
            ensure!(
                error.contains("`fexit`"),
                "the error does not name the kind: {error}"
            );
            continue;
        }
        other?;
        for result in [shared, exclusive] {
            let error = expect_error("another kind as fexit", result, is_wrong_kind)?.to_string();
            let named = [name, kind, "fexit"]
                .iter()
                .all(|word| error.contains(&format!("`{word}`")));
            ensure!(
                named,
                "the error does not name program and both kinds: {error}"
            );
        }
    }
    ensure!(
        ebpf.program("on_nothing").is_none(),
        "a program that does not exist was found"
    );
    Ok(())
}

fn is_wrong_kind(error: &ProgramError) -> bool {
    matches!(error, ProgramError::UnexpectedProgramType { .. })
}
