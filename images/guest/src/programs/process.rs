//! The process that runs one program of an object.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context as _, Result};
use protocol::job::{JOB_PATH, Job, Work};
use protocol::program::Task;

use super::attempt;
use super::shell;
use super::trigger::Trigger;

/// The argument that makes this binary run a program.
pub(crate) const COMMAND: &str = "program";

/// The argument that runs the `--prepare` command, in place of a program's number.
const PREPARE: &str = "prepare";

/// The command that runs `--prepare` with the capabilities of a scenario.
pub(super) fn prepare() -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args([COMMAND, PREPARE]);
    command
}

/// The command that runs program number `index` of the job in its own process.
pub(super) fn command(index: usize) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args([COMMAND, &index.to_string()]);
    command
}

/// Runs the program and writes its result to the pipe that [`crate::supervise`] made.
pub(crate) fn run(index: &str) -> ExitCode {
    match report(index) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn report(index: &str) -> Result<()> {
    crate::capabilities::drop_unneeded().context("cannot drop capabilities")?;
    let job: Job = serde_json::from_slice(&fs::read(JOB_PATH)?)?;
    let (programs, crashed, prepare, trigger) = match &job.work {
        Work::Scenarios {
            programs,
            crashed,
            prepare,
            trigger,
            ..
        } => (programs, crashed, prepare, trigger),
        Work::Command(_) => anyhow::bail!("the job has no programs"),
    };
    if index == PREPARE {
        let command = prepare
            .as_ref()
            .context("the job has no `--prepare` command")?;
        return Err(shell::command(command).exec())
            .with_context(|| format!("cannot run {}", command.shell));
    }
    let index: usize = index.parse()?;
    let task = programs
        .get(index)
        .context("the job has no program of that number")?;
    let task = match task {
        Task::Program(task) => task,
        Task::Command(command) => {
            return Err(shell::command(command).exec())
                .with_context(|| format!("cannot run {}", command.shell));
        }
    };
    let mut pipe = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let start = Instant::now();
    let trigger = trigger.as_ref().map(|command| Trigger {
        command,
        siblings: programs
            .iter()
            .enumerate()
            .filter(|(index, _)| !crashed.contains(index))
            .filter_map(|(_, other)| other.program())
            .filter(|other| task.is_sibling_of(other))
            .collect(),
    });
    let mut result = super::within_bounds(attempt::run(task, trigger.as_ref()));
    result.duration_us = Some(attempt::us(start.elapsed()));
    pipe.write_all(&serde_json::to_vec(&result)?)
        .context("cannot write the result to /init")
}
