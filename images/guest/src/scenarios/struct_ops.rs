//! Programs that implement functions of a struct of the kernel.

use anyhow::{Result, bail, ensure};
use fexit::programs::{Program, ProgramError};
use fexit::{Ebpf, KernelVersion};

use crate::objects;
use crate::scenario::{Context, scenarios};

scenarios! {
    struct_ops().parallel():
        "a program is verified as the function of the kernel's struct that a variable sets to it, or the error says why not";
}

/// The first release with such programs.
const FIRST: KernelVersion = KernelVersion::new(5, 6, 0);

fn struct_ops(context: &mut Context) -> Result<()> {
    let mut ebpf = Ebpf::load(objects::STRUCT_OPS)?;
    let (mut loaded, mut refused) = (0, 0);
    for (name, program) in ebpf.programs_mut() {
        let Program::Other(program) = program else {
            bail!("{name} is of a type that is attached");
        };
        match (name, program.load()) {
            (
                _,
                Err(ProgramError::TooNew {
                    too_new, running, ..
                }),
            ) => {
                let is_right = |minimum| minimum == FIRST && running < FIRST;
                let is_right = too_new.iter().all(|new| is_right(new.minimum));
                ensure!(is_right, "{name} is refused on {running}: {too_new:?}");
                refused += 1;
            }
            ("ssthresh" | "undo_cwnd" | "cong_avoid", Ok(())) => loaded += 1,
            ("reads_too_far", Err(ProgramError::LoadError { verifier_log, .. })) => ensure!(
                verifier_log.contains("func 'init' doesn't have 3-th argument"),
                "{verifier_log}"
            ),
            ("unused", Err(ProgramError::UnusedStructOps { .. })) => {}
            ("beside_a_new_member" | "new_member", Err(error @ ProgramError::StructOps { .. })) => {
                let text = error.to_string();
                let missing = "has no member `no_such_member`";
                // Other programs of the variable do not count.
                ensure!(
                    name == "new_member" && text.contains(missing),
                    "{name}: {text}"
                );
            }
            ("beside_a_new_member", Ok(())) => loaded += 1,
            ("new_struct", Err(error @ ProgramError::StructOps { .. })) => {
                let text = error.to_string();
                ensure!(
                    text.contains("no `struct bpf_struct_ops_no_such_ops`"),
                    "{text}"
                );
            }
            (name, Ok(())) => bail!("{name} is loaded"),
            (name, Err(error)) => bail!("{name}: {error}"),
        }
    }
    context.measure("loaded", loaded);
    if refused == 0 {
        context.has("programs of type struct_ops", FIRST);
    }
    let all = ebpf.programs().count();
    let is_whole = [(4, 0), (0, all)].contains(&(loaded, refused));
    ensure!(
        is_whole,
        "{loaded} programs are loaded, and {refused} of {all} are too new"
    );
    Ok(())
}
