//! `harness kernels`: the kernels that can be booted.

use std::io::{self, Write as _};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

use crate::{
    cli::kernels::KernelsCommand,
    commands::{build, kernel_table, run},
    kernels::{
        Kernel, Kernels, Options,
        operations::{self, Change, Health, Series},
    },
    report::{KernelVerdict, terminal::Board},
    support::interrupt::Interrupt,
    vm::Templates,
};

/// The scenario that a new kernel runs before it is locked.
const BOOT: &str = "filename_lookup";

/// Runs the command, and returns the exit status.
pub fn command(command: &KernelsCommand) -> Result<u8> {
    let kernels = Kernels::open(command.store().clone())?;
    let verdict = match command {
        KernelsCommand::List {
            kernels: names,
            json,
            ..
        } => list(&kernels, names, *json),
        KernelsCommand::Fetch { kernels: names, .. } => fetch(&kernels, names),
        KernelsCommand::Verify { kernels: names, .. } => verify(&kernels, names),
        KernelsCommand::Update {
            series,
            no_boot: true,
            ..
        } => {
            let board = Board::new(false);
            operations::update(&kernels, series, &board.line("kernels")).and_then(show_changes)
        }
        KernelsCommand::Update { series, store, .. } => return update_booted(series, store),
        KernelsCommand::Build(args) => return build::command(args),
    }?;
    Ok(verdict.exit_code())
}

/// A JSON array on one line, for the job matrix of a CI.
fn array(series: &[Series]) -> Result<String> {
    #[derive(Serialize)]
    struct Entry<'a> {
        kernel: &'a str,
        #[serde(flatten)]
        series: &'a Series,
    }
    let entries = series.iter().map(|series| Entry {
        kernel: &series.name,
        series,
    });
    let json = serde_json::to_string(&entries.collect::<Vec<_>>())?;
    Ok(json + "\n")
}

fn list(kernels: &Kernels, names: &[String], json: bool) -> Result<KernelVerdict> {
    let mut series = operations::list(kernels)?;
    if !names.is_empty() {
        let names = kernels.expand(names)?;
        series.retain(|series| names.contains(&series.name));
    }
    print(&if json {
        array(&series)?
    } else {
        kernel_table::of(&series)
    })?;
    Ok(KernelVerdict::Ok)
}

fn fetch(kernels: &Kernels, names: &[String]) -> Result<KernelVerdict> {
    let board = Board::new(false);
    let mut verdict = KernelVerdict::Ok;
    for (name, kernel) in operations::fetch(kernels, names, &board.line(""))? {
        let line = board.line(&name);
        match kernel {
            Ok(kernel) => line.note(&format!("{} is in the cache", kernel.release)),
            Err(error) => {
                verdict = KernelVerdict::Infra;
                line.note(&format!("{error:#}"));
            }
        }
    }
    Ok(verdict)
}

fn verify(kernels: &Kernels, names: &[String]) -> Result<KernelVerdict> {
    let mut verdict = KernelVerdict::Ok;
    let templates = Templates::new(kernels.cache_dir());
    for (name, health) in operations::verify(kernels, names)? {
        let health = match health {
            Health::Good { image_sha256 } => match templates.verify(&image_sha256) {
                Ok(()) => Health::Good { image_sha256 },
                Err(reason) => Health::Damaged(format!("{reason:#}")),
            },
            health => health,
        };
        let (found, line) = match health {
            Health::Good { .. } => (KernelVerdict::Ok, "good".to_owned()),
            Health::Absent => (KernelVerdict::Infra, "not in the cache".to_owned()),
            Health::Damaged(why) => (KernelVerdict::NotOk, format!("damaged: {why}")),
        };
        verdict = verdict.max(found);
        print(&format!("{name:<8}  {line}\n"))?;
    }
    Ok(verdict)
}

/// Locks what has booted. Returns the exit status.
fn update_booted(series: &[String], store: &Options) -> Result<u8> {
    let board = Board::new(false);
    let interrupt = Interrupt::new().context("cannot listen for signals")?;
    let work = {
        let (series, store) = (series.to_vec(), store.clone());
        let (board, interrupt) = (board.clone(), interrupt.clone());
        move || {
            let boot = |kernel: &Kernel| boot(kernel, &store, &board, &interrupt);
            let kernels = Kernels::open(store.clone())?;
            operations::update_booted(&kernels, &series, &board.line("kernels"), &boot)
        }
    };
    match (interrupt.or_leave(work), interrupt.exit_code()) {
        (Ok(changes), None) => Ok(show_changes(changes)?.exit_code()),
        (Ok(_), Some(status)) => Ok(status),
        (Err(error), Some(status)) => {
            board.say(format_args!("{error:#}"));
            Ok(status)
        }
        (Err(error), None) => Err(error),
    }
}

/// Boots a kernel once. Whether it can run fexit is left to the runs.
fn boot(kernel: &Kernel, store: &Options, board: &Board, interrupt: &Interrupt) -> Result<()> {
    let store = Kernels::open(store.clone())?;
    let report = run::boot(kernel, &[BOOT], store, board, interrupt)?;
    if report.verdict == KernelVerdict::Infra {
        let why = report.error.as_deref().unwrap_or("no reason given");
        bail!("{why}\n{}", report.console_tail.join("\n"));
    }
    Ok(())
}

fn show_changes(changes: Vec<Change>) -> Result<KernelVerdict> {
    let mut verdict = KernelVerdict::Ok;
    for Change { series, old, new } in changes {
        if new.is_err() {
            verdict = KernelVerdict::Infra;
        }
        print(&match (old, new) {
            (Some(old), Ok(new)) if old == new => format!("{series:<5}  {new}\n"),
            (Some(old), Ok(new)) => format!("{series:<5}  {old} -> {new}\n"),
            (None, Ok(new)) => format!("{series:<5}  {new} (new)\n"),
            (_, Err(error)) => format!("{series:<5}  not updated: {error:#}\n"),
        })?;
    }
    Ok(verdict)
}

fn print(text: &str) -> Result<()> {
    io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to stdout")
}
