//! The process of one program.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context as _, Result};
use protocol::job::{JOB_PATH, Job, Work};

use super::attempt;
use super::trigger::{Meanwhile, shell};

/// The argument that makes this binary try a program.
pub(crate) const COMMAND: &str = "program";

/// The argument in the place of a program's number that makes it prepare the VM for them all.
const PREPARE: &str = "prepare";

/// The command that prepares the VM, as a process that may report for nobody.
pub(super) fn prepare() -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args([COMMAND, PREPARE]);
    command
}

/// The command that tries the `index`-th program of the job in a process of its own.
pub(super) fn command(index: usize) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args([COMMAND, &index.to_string()]);
    command
}

/// Tries the program and hands its result back; see [`crate::supervise`] for the way.
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
    crate::confine::confine().context("cannot give up rights")?;
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
        let command = prepare.as_ref().context("the job has no such command")?;
        return Err(shell(command).exec()).with_context(|| command.shell.clone());
    }
    let index: usize = index.parse()?;
    let task = programs.get(index).context("the job has no such program")?;
    let mut pipe = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let start = Instant::now();
    let meanwhile = trigger.as_ref().map(|trigger| Meanwhile {
        trigger,
        others: programs
            .iter()
            .enumerate()
            .filter(|(place, other)| task.goes_with(other) && !crashed.contains(place))
            .map(|(_, other)| other)
            .collect(),
    });
    let mut result = attempt::run(task, meanwhile.as_ref());
    result.duration_us = Some(attempt::us(start.elapsed()));
    pipe.write_all(&serde_json::to_vec(&result)?)
        .context("cannot hand the result back")
}
