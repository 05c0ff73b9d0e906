//! How many programs one function takes.

use anyhow::{Result, ensure};
use fexit::programs::{FExit, ProgramError, Target};
use fexit::{Btf, Ebpf, Feature};

use super::counter::{Counter, expect_error};
use crate::objects;
use crate::scenario::{Context, Scenario};

pub(super) const SCENARIOS: &[Scenario] = &[Scenario::new(
    "program_limit",
    "one function takes as many programs as its trampoline holds, and the error for one more names that",
    Feature::ProgramTarget,
    program_limit,
)
.beside_others()];

/// No trampoline holds more; a kernel that would go on for ever is wrong.
const FAR_TOO_MANY: usize = 100;

fn program_limit(context: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    // A program as the target: attaching to it takes a hundredth of the time.
    let mut target = Ebpf::load(objects::KINDS)?;
    let Some(target) = target.program_mut("on_packet") else {
        anyhow::bail!("no program")
    };
    <&mut fexit::programs::OtherProgram>::try_from(&mut *target)?.load()?;
    let packet = &*target;
    let target = Target::program(packet, None)?;

    let attached = |program: &mut FExit| -> std::result::Result<_, ProgramError> {
        program.load_target(&target, &btf)?;
        program.attach()
    };
    let mut programs = Vec::new();
    let refused = loop {
        let mut counter = Counter::parsed()?;
        match attached(counter.program()?) {
            Ok(id) => programs.push((counter, id)),
            Err(error) => break error,
        }
        ensure!(
            programs.len() < FAR_TOO_MANY,
            "{FAR_TOO_MANY} programs are attached"
        );
    };
    context.measure("programs", programs.len());
    let too_many = |error: &ProgramError| matches!(error, ProgramError::AttachError { .. });
    let error = expect_error("one program more", Err::<(), _>(refused), too_many)?;
    let text = error.to_string();
    ensure!(
        text.contains("as many programs as one trampoline holds"),
        "{text}"
    );
    // From 6.0 on the kernel tells what is attached where, so that the limit is this kernel's own.
    let limit = if Feature::ProgramInfoTarget.is_in(&btf) == Some(true) {
        format!("({})", programs.len())
    } else {
        "(36 to 40, by kernel)".to_owned()
    };
    ensure!(text.contains(&limit), "{limit} is not in: {text}");
    packet.test_run(&[0; 64])?;
    for (counter, _) in &programs {
        let calls = counter.calls().get()?;
        ensure!(
            calls == 1,
            "one of the programs ran {calls} times, not once"
        );
    }
    ensure!(
        (36..=40).contains(&programs.len()),
        "{} programs were attached",
        programs.len()
    );

    // Where one goes, another fits.
    if let Some((mut counter, id)) = programs.pop() {
        counter.program()?.detach(id)?;
    }
    attached(Counter::parsed()?.program()?)?;
    Ok(())
}
