//! A run: several kernels, some at once, into one report.

mod initramfs;
mod jobs;
mod one;
mod outputs;
pub mod scenarios;
mod watch;

use std::{
    fs,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
};

use anyhow::{Context as _, Result};

use guest::scenario::Scenario;
pub use outputs::Sinks;

use crate::{
    cli::RunArgs,
    error::usage,
    interrupt::Interrupt,
    kernels,
    progress::Board,
    report::{KernelReport, Report, compare::Comparison, file, observed::none_reached},
};

const NOT_FINISHED: &str = "the harness ended before this kernel was finished";

/// Runs scenarios on kernels, and returns the exit status.
pub fn run(args: &RunArgs) -> Result<u8> {
    // What the user can mend is found first, before anything takes time.
    let planned = scenarios::select(&args.scenarios)?;
    let kernels = kernels::open(&args.store)?;
    let names = kernels.expand(&args.kernels)?;
    let baseline = args.baseline.as_deref().map(file::read).transpose()?;
    let sinks = Sinks::prepare(&args.outputs)?;
    if let Some(keep) = &args.keep {
        fs::create_dir_all(keep)
            .map_err(|e| usage(format!("--keep cannot use {}: {e}", keep.display())))?;
    }
    let interrupt = Interrupt::new().context("cannot listen for signals")?;
    let board = Board::new(args.verbose);
    let targets = one::resolve(&kernels, &names, &board)?;

    let unfinished = |why: &str| {
        Report::new(
            names
                .iter()
                .map(|name| unfinished(name, &planned, why))
                .collect(),
        )
    };
    let mut report = unfinished(NOT_FINISHED);
    let ran = match one::Setup::new(args, &planned, &interrupt, &kernels) {
        Ok(setup) => {
            let jobs = args.jobs.map_or_else(jobs::default, usize::from);
            all(&setup, jobs, &targets, &board, &mut report, &sinks);
            Ok(())
        }
        Err(error) => {
            report = unfinished(&format!("{error:#}"));
            Err(error)
        }
    };
    // Whatever happened, there is a report, and it lists every kernel and every scenario.
    let written = sinks.finish(&report);
    match (ran, written) {
        (Ok(()), written) => written?,
        (Err(why), Ok(())) => return Err(why),
        (Err(why), Err(also)) => return Err(why.context(format!("{also:#}; before that"))),
    }

    board.summary(&report);
    let comparison = baseline.map(|old| Comparison::new(&old, &report));
    if let Some(comparison) = &comparison {
        board.say(format_args!("\nagainst the baseline:\n{comparison}"));
    }
    let judged = comparison.map_or(report.verdict.exit_code(), |c| c.exit_code());
    Ok(interrupt.exit_code().unwrap_or(judged))
}

/// Runs every kernel, `jobs` at once, and updates the report after each.
fn all(
    setup: &one::Setup<'_>,
    jobs: usize,
    targets: &[one::Target],
    board: &Board,
    report: &mut Report,
    sinks: &Sinks,
) {
    let update = |report: &Report| {
        if let Err(error) = sinks.update(report) {
            board.say(format_args!(
                "{error:#}; going on, the report will go to stdout"
            ));
        }
    };
    update(report);
    let next = AtomicUsize::new(0);
    let (sender, finished) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(targets.len()) {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                while let Some(target) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let line = board.line(&target.name);
                    // The other end is there for as long as this thread.
                    let _ = sender.send(setup.run(target, &line));
                }
            });
        }
        drop(sender);
        for kernel in finished {
            if let Some(place) = report
                .kernels
                .iter_mut()
                .find(|k| k.requested == kernel.requested)
            {
                *place = kernel;
            }
            report.conclude();
            update(report);
        }
    });
}

/// A kernel about which nothing is known but why.
fn unfinished(name: &str, planned: &[&'static Scenario], why: &str) -> KernelReport {
    KernelReport {
        requested: name.to_owned(),
        error: Some(why.to_owned()),
        scenarios: none_reached(planned, None, why),
        ..KernelReport::default()
    }
}
