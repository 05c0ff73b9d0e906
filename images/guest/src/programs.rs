//! Runs the programs of the user's objects one after the other, each in its own process.

mod attempt;
mod dump;
mod map_sizes;
mod process;
mod reason;
mod shell;
mod target;
mod trigger;
mod verifier;

pub(crate) use process::{COMMAND, run};

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use protocol::event::Event;
use protocol::program::{
    ProgramOutcome, ProgramResult, Reason, ReasonKind, ShellCommand, TIME_LIMIT, Task,
};

use crate::concurrency::Concurrency;
use crate::log_watch::{self, Log};
use crate::modules;
use crate::port::Port;
use crate::supervise::{self, Ended};
use crate::text::bounded;

/// The longest text and the longest verifier log in an event, in bytes: the serial port is slow.
const TEXT_LIMIT: usize = 16 << 10;
const LOG_LIMIT: usize = 128 << 10;
/// The largest result in bytes of JSON. The host truncates an event at 1 MiB.
const RESULT_LIMIT: usize = 512 << 10;
const LINES: usize = 20;

/// Runs the programs, numbered as in the job. `prepare` runs first, `trigger` while each program is attached.
pub(crate) fn run_all<'a>(
    tasks: impl Iterator<Item = (usize, &'a Task)>,
    own_modules: &[String],
    (prepare, trigger): (Option<&ShellCommand>, Option<&ShellCommand>),
    timeout_s: Option<u64>,
    log: &mut Log,
    port: &mut Port,
) -> Result<()> {
    let limit = TIME_LIMIT.max(Duration::from_secs(timeout_s.unwrap_or(0)))
        + trigger.map(ShellCommand::limit).unwrap_or_default();
    let unloaded = own_modules
        .iter()
        .find_map(|name| modules::load(name).err());
    let unloaded = unloaded.map(|why| format!("not tried: {why}"));
    let prepare_error = unloaded.or_else(|| prepare.and_then(prepare_error));
    for (index, task) in tasks {
        port.send(&Event::ProgramStarted {
            index,
            program: task.name().to_owned(),
        })?;
        let (tried, splat) = log_watch::watch(log, || match &prepare_error {
            Some(why) => Ok(ProgramResult::bare(
                ProgramOutcome::Skipped,
                ReasonKind::Other,
                why,
            )),
            None => match task {
                Task::Program(_) => attempt(index, limit),
                Task::Command(command) => Ok(command_result(index, command)),
            },
        });
        let mut result = tried.with_context(|| format!("cannot run `{}`", task.name()))?;
        match splat {
            Ok(splat) => {
                if let Some(splat) = splat {
                    note_splat(&mut result, &splat);
                }
            }
            Err(why) => result.notes.push(format!(
                "a splat would go unseen, because the kernel's log cannot be read: {why}"
            )),
        }
        port.send(&Event::ProgramFinished {
            index,
            result: Box::new(within_bounds(result)),
        })?;
    }
    Ok(())
}

/// Runs the `--prepare` command. Returns its error if it failed.
fn prepare_error(prepare: &ShellCommand) -> Option<String> {
    let (_, result) = shell::run(prepare, process::prepare());
    let text = format!("not tried: --prepare failed: {}", result.ended);
    (!result.ok).then(|| with_output(text, &result.output))
}

/// Runs a command of the user.
fn command_result(index: usize, command: &ShellCommand) -> ProgramResult {
    let start = Instant::now();
    let (outcome, ran) = shell::run(command, process::command(index));
    let lines: Vec<&str> = ran.output.lines().collect();
    let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
    let text = with_output(ran.ended.clone(), &last);
    let mut result = ProgramResult::bare(outcome, ReasonKind::Command, text);
    if ran.ok {
        result.reason = None;
    }
    result.duration_us = Some(u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX));
    result.trigger = Some(ran);
    result
}

fn attempt(index: usize, limit: Duration) -> Result<ProgramResult> {
    let ended = supervise::run(&mut process::command(index), limit, Concurrency::Serial)?;
    Ok(of(&ended, limit))
}

/// The result of a program whose process ended.
fn of(ended: &Ended, limit: Duration) -> ProgramResult {
    let output = ended.output.lines(LINES);
    let Some(status) = ended.status else {
        let text = with_output(
            format!("still running at its time limit of {limit:?}"),
            &output,
        );
        return ProgramResult::bare(ProgramOutcome::TimedOut, ReasonKind::Other, text);
    };
    match serde_json::from_slice::<ProgramResult>(&ended.report) {
        Ok(result) if status.success() => result,
        _ => failed(with_output(
            format!("its process exited without a result ({status})"),
            &output,
        )),
    }
}

fn with_output(text: String, output: &str) -> String {
    match output.is_empty() {
        true => text,
        false => format!("{text}; its last output:\n{output}"),
    }
}

fn failed(text: String) -> ProgramResult {
    ProgramResult::bare(ProgramOutcome::Failed, ReasonKind::Other, text)
}

fn note_splat(result: &mut ProgramResult, splat: &str) {
    if matches!(
        result.outcome,
        ProgramOutcome::Works | ProgramOutcome::Verified
    ) {
        result.outcome = ProgramOutcome::Splat;
        let line = splat.lines().next().unwrap_or_default();
        result.reason = Some(Reason::new(
            ReasonKind::Other,
            format!("it works, but the kernel says: {line}"),
        ));
    }
    result.splat = Some(splat.to_owned());
}

/// Bounds the size of the event.
fn within_bounds(mut result: ProgramResult) -> ProgramResult {
    let bound = |text: &mut String, limit: usize| *text = bounded(text, limit);
    if let Some(reason) = &mut result.reason {
        bound(&mut reason.text, TEXT_LIMIT);
        reason.missing.truncate(100);
    }
    if let Some(log) = &mut result.log {
        bound(log, LOG_LIMIT);
    }
    if let Some(splat) = &mut result.splat {
        bound(splat, TEXT_LIMIT);
    }
    if let Some(trigger) = &mut result.trigger {
        bound(&mut trigger.output, TEXT_LIMIT);
    }
    let size = serde_json::to_vec(&result).map_or(usize::MAX, |json| json.len());
    if size > RESULT_LIMIT {
        result.maps = None;
        result.globals = None;
        result.log = None;
        result.notes.push(format!(
            "maps, global variables and log are left out: the result has {size} bytes, more than {RESULT_LIMIT}"
        ));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::program::MapDump;

    #[test]
    fn result_is_bounded_and_notes_what_was_left_out() {
        let mut result = failed("x".repeat(1 << 20));
        result.log = Some("y".repeat(1 << 20));
        let entries = vec![("z".repeat(1 << 10).into(), 1.into()); 1000];
        result.maps = Some(vec![MapDump {
            name: "m".into(),
            kind: "hash".into(),
            entries: Some(entries),
            more: false,
            records: None,
        }]);
        let result = within_bounds(result);
        assert!(serde_json::to_vec(&result).unwrap().len() < 300 << 10);
        assert!(result.maps.is_none() && result.notes[0].contains("left out"));
    }

    #[test]
    fn splat_replaces_works_and_verified_and_is_added_to_refused() {
        for outcome in [ProgramOutcome::Works, ProgramOutcome::Verified] {
            let mut works = failed(String::new());
            works.outcome = outcome;
            note_splat(&mut works, "BUG: one\nRIP");
            assert_eq!(works.outcome, ProgramOutcome::Splat);
            assert!(works.reason.unwrap().text.contains("BUG: one"));
        }
        let mut refused = failed("why".into());
        refused.outcome = ProgramOutcome::Refused;
        note_splat(&mut refused, "BUG: one");
        let why = Reason::new(ReasonKind::Other, "why");
        assert_eq!(
            (refused.outcome, refused.reason),
            (ProgramOutcome::Refused, Some(why))
        );
    }
}
