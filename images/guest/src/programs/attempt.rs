//! One program: loaded, attached, triggered, detached, and what it left in its maps.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use fexit::programs::{FExit, Program, ProgramError, Target};
use fexit::{Btf, Ebpf};
use protocol::program::{
    OBJECTS_DIR, ProgramOutcome, ProgramResult, ProgramTask, Reason, ReasonKind, Stage,
};

use super::trigger::{self, Meanwhile};
use super::{dump, reason};
use crate::child::Company;
use crate::leaks::Census;

/// Makes the kernel count runs of programs and their time. Since 5.1.
const STATISTICS: &str = "/proc/sys/kernel/bpf_stats_enabled";

pub(super) fn us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Tries the program. Whatever happens is in the result.
pub(super) fn run(task: &ProgramTask, meanwhile: Option<&Meanwhile<'_>>) -> ProgramResult {
    let mut result = ProgramResult::bare(ProgramOutcome::Works, ReasonKind::Other, "");
    result.reason = None;
    let before = Census::of_process(Company::Alone);
    let tried = attempt(task, meanwhile, &mut result);
    if let Err(reason) = tried {
        result.outcome = ProgramOutcome::Refused;
        result.reason = Some(*reason);
        return result;
    }
    // Everything is closed by now; the kernel frees it in its own time.
    if let Err(error) = before.nothing_new() {
        result.outcome = ProgramOutcome::Refused;
        result.reason = Some(Reason::new(ReasonKind::Detach, format!("{error:#}")));
        if let Some(detach) = &mut result.stages.detach {
            detach.ok = false;
        }
    }
    result
}

fn attempt(
    task: &ProgramTask,
    meanwhile: Option<&Meanwhile<'_>>,
    result: &mut ProgramResult,
) -> Result<(), Box<Reason>> {
    let other = |text: String| Box::new(Reason::new(ReasonKind::Other, text));
    let path = Path::new(OBJECTS_DIR).join(&task.file);
    let mut object = Ebpf::load_file(path).map_err(|error| other(error.to_string()))?;
    if let Err(error) = fs::write(STATISTICS, "1") {
        result
            .notes
            .push(format!("runs are not counted: {STATISTICS}: {error}"));
    }
    let btf = Btf::from_sys_fs().map_err(|error| other(error.to_string()))?;
    let start = Instant::now();
    let loaded = load(&mut object, task, &btf, result);
    result.stages.load = Some(stage(loaded.is_ok(), start));
    loaded?;
    if let Some(meanwhile) = meanwhile {
        meanwhile.load(&mut object, &btf, &mut result.notes);
    }

    let program =
        fexit(&mut object, &task.program).map_err(|error| Box::new(reason::of(&error)))?;
    let start = Instant::now();
    let attached = program.attach();
    result.stages.attach = Some(stage(attached.is_ok(), start));
    let link = attached.map_err(|error| Box::new(reason::at_attach(&error)))?;
    if let Some(meanwhile) = meanwhile {
        result.alongside = meanwhile.attach(&mut object);
        result.trigger = Some(meanwhile.pull());
    }
    let program =
        fexit(&mut object, &task.program).map_err(|error| Box::new(reason::of(&error)))?;
    let counted = fs::read_to_string(STATISTICS).is_ok_and(|on| on.trim() == "1");
    match program.info() {
        Ok(info) => {
            result.run_count = counted.then_some(info.run_count);
            result.mean_ns = info
                .run_time_ns
                .checked_div(info.run_count)
                .filter(|_| counted);
        }
        Err(error) => result.notes.push(format!("runs are not counted: {error}")),
    }
    let start = Instant::now();
    let detached = program.detach(link).and_then(|()| program.unload());
    result.stages.detach = Some(stage(detached.is_ok(), start));
    detached.map_err(|error| Box::new(Reason::new(ReasonKind::Detach, error.to_string())))?;
    trigger::detach(&mut object, &result.alongside, &mut result.notes);
    result.maps = Some(dump::maps(&object, &mut result.notes));
    result.globals = Some(dump::globals(&object, &mut result.notes));
    Ok(())
}

fn stage(ok: bool, start: Instant) -> Stage {
    Stage {
        ok,
        us: us(start.elapsed()),
    }
}

pub(super) fn fexit<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut FExit, ProgramError> {
    let missing = || ProgramError::TargetProgram {
        reason: format!("the object has no program `{name}`"),
    };
    object.program_mut(name).ok_or_else(missing)?.try_into()
}

fn load(
    object: &mut Ebpf,
    task: &ProgramTask,
    btf: &Btf,
    result: &mut ProgramResult,
) -> Result<(), Box<Reason>> {
    load_for(object, &task.program, task.target.as_deref(), btf).map_err(|error| {
        if let ProgramError::LoadError { verifier_log, .. } = &error {
            result.log = Some(verifier_log.clone());
        }
        Box::new(reason::of(&error))
    })
}

/// Loads a program for its section's target, or for another.
pub(super) fn load_for(
    object: &mut Ebpf,
    name: &str,
    target: Option<&str>,
    btf: &Btf,
) -> Result<(), ProgramError> {
    let Some(target) = target else {
        return fexit(object, name)?.load_target(&Target::Section, btf);
    };
    let Some(other) = target.strip_prefix("prog:") else {
        return fexit(object, name)?.load(target, btf);
    };
    let (other, function) = match other.split_once('/') {
        Some((other, function)) => (other, Some(function)),
        None => (other, None),
    };
    let fd = match object.program_mut(other) {
        Some(Program::FExit(program)) => {
            program.load_target(&Target::Section, btf)?;
            program.fd()?.try_clone_to_owned()
        }
        Some(Program::Other(program)) => {
            program.load()?;
            program.fd()?.try_clone_to_owned()
        }
        _ => {
            return Err(ProgramError::TargetProgram {
                reason: format!("the object has no program `{other}`"),
            });
        }
    };
    let fd = fd.map_err(|io_error| ProgramError::SyscallError {
        call: "dup",
        io_error,
    })?;
    fexit(object, name)?.load_target(&Target::OwnedProgram { fd, function }, btf)
}
