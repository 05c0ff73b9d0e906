//! A run: several kernels, some at once, into one report.

mod initramfs;
mod jobs;
mod one;
mod outputs;
mod pool;
pub mod scenarios;
mod watch;

use std::{fs, sync::Arc};

use anyhow::{Context as _, Result};

use guest::scenario::Scenario;
use one::Setup;
pub use outputs::Sinks;

use crate::{
    cli::RunArgs,
    error::usage,
    interrupt::{INTERRUPTED, Interrupt},
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
    let targets = one::resolve(&kernels, &names, &board, &interrupt)?;

    let all_unfinished = |why: &str| {
        Report::new(
            names
                .iter()
                .map(|name| unfinished(name, &planned, why))
                .collect(),
        )
    };
    let mut report = all_unfinished(NOT_FINISHED);
    let ran = match Setup::new(args, &planned, &interrupt, kernels, &board) {
        Ok(setup) => {
            let jobs = args.jobs.map_or_else(jobs::default, usize::from);
            pool::run(&Arc::new(setup), jobs, targets, &mut report, &sinks);
            Ok(())
        }
        Err(error) => {
            report = all_unfinished(&format!("{error:#}"));
            Err(error)
        }
    };
    if interrupt.stop().requested() {
        for kernel in &mut report.kernels {
            if kernel.error.as_deref() == Some(NOT_FINISHED) {
                *kernel = unfinished(&kernel.requested, &planned, INTERRUPTED);
            }
        }
    }
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

/// A kernel about which nothing is known but why.
fn unfinished(name: &str, planned: &[&'static Scenario], why: &str) -> KernelReport {
    KernelReport {
        requested: name.to_owned(),
        error: Some(why.to_owned()),
        scenarios: none_reached(planned, None, why),
        ..KernelReport::default()
    }
}
