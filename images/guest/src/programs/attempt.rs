//! Loads, attaches, triggers and detaches one program, and reads its maps.

use std::fs;
use std::time::{Duration, Instant};

use fexit::Btf;
use fexit::programs::ProgramError;
use protocol::program::{ProgramOutcome, ProgramResult, ProgramTask, Reason, ReasonKind, Stage};

use super::target::Objects;
use super::trigger::Trigger;
use super::{dump, reason, verifier};
use crate::concurrency::Concurrency;
use crate::leak_check::LeakCheck;

/// Makes the kernel count the runs of programs and their run time. Minimum kernel: 5.1.
const STATISTICS: &str = "/proc/sys/kernel/bpf_stats_enabled";

pub(super) fn us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Runs all stages of the program. The result holds any error.
pub(super) fn run(task: &ProgramTask, trigger: Option<&Trigger<'_>>) -> ProgramResult {
    let mut result = ProgramResult::bare(ProgramOutcome::Works, ReasonKind::Other, "");
    result.reason = None;
    let leaks = LeakCheck::for_process(Concurrency::Serial);
    let tried = attempt(task, trigger, &mut result);
    if let Err(reason) = tried {
        result.outcome = match reason.kind {
            ReasonKind::NoTarget | ReasonKind::NotCovered => ProgramOutcome::Skipped,
            _ => ProgramOutcome::Refused,
        };
        result.reason = Some(*reason);
        return result;
    }
    // Everything is closed by now; the kernel frees it asynchronously.
    if let Err(error) = leaks.finish() {
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
    trigger: Option<&Trigger<'_>>,
    result: &mut ProgramResult,
) -> Result<(), Box<Reason>> {
    let other = |text: String| Box::new(Reason::new(ReasonKind::Other, text));
    let mut objects = Objects::default();
    let of = |error: ProgramError| Box::new(reason::of(&error));
    objects
        .get(&task.file)
        .map_err(|error| other(error.to_string()))?;
    result.notes.append(&mut objects.notes);
    if let Err(error) = fs::write(STATISTICS, "1") {
        result.notes.push(format!(
            "the kernel does not count runs: cannot write {STATISTICS}: {error}"
        ));
    }
    let btf = Btf::from_sys_fs().map_err(|error| other(error.to_string()))?;
    let start = Instant::now();
    let loaded = load(&mut objects, task, &btf, result);
    result.stages.load = Some(stage(loaded.is_ok(), start));
    loaded?;
    result.verifier = verifier::accepted(objects.program(&task.file, &task.program).map_err(of)?);
    let program = objects.program(&task.file, &task.program).map_err(of)?;
    if !program.is_attachable() {
        result.outcome = ProgramOutcome::Verified;
        return program.unload().map_err(of);
    }
    let siblings = trigger.map(|trigger| trigger.load(&mut objects, &btf, &mut result.notes));
    let mut siblings = siblings.unwrap_or_default();

    let program = objects.program(&task.file, &task.program).map_err(of)?;
    let start = Instant::now();
    let attached = program.attach();
    result.stages.attach = Some(stage(attached.is_ok(), start));
    let link = attached.map_err(|error| Box::new(reason::at_attach(&error)))?;
    if let Some(trigger) = trigger {
        siblings = Trigger::attach(&mut objects, siblings);
        result.alongside = siblings.iter().map(|task| task.program.clone()).collect();
        result.trigger = Some(trigger.run());
    }
    let program = objects.program(&task.file, &task.program).map_err(of)?;
    let counted = fs::read_to_string(STATISTICS).is_ok_and(|on| on.trim() == "1");
    match program.info() {
        Ok(info) => {
            result.run_count = counted.then_some(info.run_count);
            result.mean_ns = info
                .run_time_ns
                .checked_div(info.run_count)
                .filter(|_| counted);
        }
        Err(error) => result
            .notes
            .push(format!("the number of runs is unknown: {error}")),
    }
    let start = Instant::now();
    let detached = program.detach(link).and_then(|()| program.unload());
    result.stages.detach = Some(stage(detached.is_ok(), start));
    detached.map_err(|error| Box::new(Reason::new(ReasonKind::Detach, error.to_string())))?;
    Trigger::detach(&mut objects, &siblings, &mut result.notes);
    let object = objects
        .get(&task.file)
        .map_err(|error| other(error.to_string()))?;
    result.maps = Some(dump::maps(object, &mut result.notes));
    result.globals = Some(dump::globals(object, &mut result.notes));
    Ok(())
}

fn stage(ok: bool, start: Instant) -> Stage {
    Stage {
        ok,
        us: us(start.elapsed()),
    }
}

fn load(
    objects: &mut Objects,
    task: &ProgramTask,
    btf: &Btf,
    result: &mut ProgramResult,
) -> Result<(), Box<Reason>> {
    objects.load(task, btf).map_err(|error| {
        if let ProgramError::LoadError { verifier_log, .. } = &error {
            result.log = Some(verifier_log.clone());
            result.verifier = verifier::refused(verifier_log);
        }
        Box::new(reason::at_load(task, &error))
    })
}
