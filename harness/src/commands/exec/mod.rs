//! `harness exec` and `harness shell`: run a host program in a VM.

mod environment;
mod gdb;
mod guest;
mod listener;
mod out;
mod ran;
mod relay;
mod shell;
mod status;
mod symbols;
mod terminal;

use std::{
    path::{Component, Path},
    time::Duration,
};

use anyhow::{Context as _, Result};
use protocol::job;

use self::guest::Guest;
pub use self::shell::run as shell;
use self::status::{BY_SIGNAL, CANNOT_RUN, FAILED, NOT_FOUND, SIGINT};
use crate::{
    cli::exec::ExecArgs,
    initramfs::host_files::{HostFiles, error::ProgramError},
    report::terminal::Board,
    support::{
        error::{UsageError, report},
        interrupt::Interrupt,
    },
};

/// The time limit of a program without a terminal.
const TIME_LIMIT: Duration = Duration::from_secs(600);

/// Runs the program, prints errors, and returns the exit status.
pub fn run(args: &ExecArgs) -> u8 {
    status(|interrupt| program(args, interrupt))
}

/// The exit status of `run`. Prints its error.
fn status(run: impl FnOnce(&Interrupt) -> Result<u8>) -> u8 {
    let failed = |error: &anyhow::Error| {
        report(error);
        status_of(error)
    };
    match Interrupt::new().context("cannot listen for signals") {
        Err(error) => failed(&error),
        Ok(interrupt) => run(&interrupt).unwrap_or_else(|error| {
            let failed = failed(&error);
            interrupt.exit_code().unwrap_or(failed)
        }),
    }
}

/// The exit status for an error.
fn status_of(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<ProgramError>() {
        Some(ProgramError::NotFound(_)) => NOT_FOUND,
        Some(ProgramError::NotExecutable { .. }) => CANNOT_RUN,
        _ if error.is::<UsageError>() => 2,
        _ => FAILED,
    }
}

fn program(args: &ExecArgs, interrupt: &Interrupt) -> Result<u8> {
    if args.tty {
        terminal::require()?;
    }
    let mut host_files = HostFiles::new(guest::arch(&args.vm)?);
    let mut program = host_files.command(&args.command)?;
    // A script gets the path by which it was called.
    let name = Path::new(&args.command[0]);
    let is_plain = |part| !matches!(part, Component::ParentDir);
    let current = std::env::current_dir().context("there is no current directory")?;
    let folder = args.workdir.as_ref().unwrap_or(&current);
    let folder = host_files.working_dir(folder)?;
    if folder == current && name.components().count() > 1 && name.components().all(is_plain) {
        program = name.to_owned();
    }
    let streams = match (args.tty, args.stdin) {
        (true, _) => {
            terminal::add_description(&mut host_files)?;
            job::Streams::Terminal(terminal::size())
        }
        (false, true) => job::Streams::All,
        (false, false) => job::Streams::Output,
    };
    let command = job::Command {
        program: program.into(),
        arguments: args.command.clone(),
        environment: environment::of_program(&args.vm.environment)?,
        folder: folder.into(),
        streams,
        mounts: Vec::new(),
        out: Vec::new(),
    };
    let board = Board::new(args.vm.verbose);
    let guest = Guest::prepare(&args.vm, host_files, command, &[], &board, interrupt)?;
    let usual = if args.tty { Duration::MAX } else { TIME_LIMIT };
    let limit = args.timeout.unwrap_or(usual);
    let symbols = gdb::symbols(&guest, &board, interrupt)?;
    let ran = guest.run(limit, symbols.as_ref(), interrupt)?;
    ran.report(interrupt, BY_SIGNAL + SIGINT)
}
