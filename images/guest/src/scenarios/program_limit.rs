//! The number of programs on one function.

use anyhow::{Result, ensure};
use fexit::programs::{FExit, ProgramError, Target};
use fexit::{Btf, Ebpf, Feature};

use super::counter::{Counter, expect_error};
use crate::objects;
use crate::scenario::{Context, scenarios};

scenarios! {
    program_limit(ProgramTarget).without_functions().parallel():
        "one function takes as many programs as a trampoline holds, and the error for one more names that limit";
}

/// More than any trampoline holds, so that the loop ends on every kernel.
const FAR_TOO_MANY: usize = 100;

fn program_limit(context: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    // The target is a program: attaching to it takes a hundredth of the time.
    let mut target = Ebpf::load(objects::PROGRAM_TYPES)?;
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
    // From 6.0 on the kernel reports the targets of programs, so that the error gives the limit of this kernel.
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

    // After one is detached, another fits.
    if let Some((mut counter, id)) = programs.pop() {
        counter.program()?.detach(id)?;
    }
    attached(Counter::parsed()?.program()?)?;
    Ok(())
}
