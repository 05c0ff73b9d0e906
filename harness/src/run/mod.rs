//! A run: several kernels, some at once, into one report.

mod boot;
mod initramfs;
mod jobs;
mod one;
mod outputs;
mod pool;
mod resolve;
pub mod scenarios;
mod watch;

use std::{fs, sync::Arc};

use anyhow::{Context as _, Result};
use clap::Parser as _;

use guest::scenario::Scenario;
use one::{Setup, Target};
pub use outputs::Sinks;

use crate::{
    cli::{Cli, RunArgs},
    error::usage,
    interrupt::{INTERRUPTED, Interrupt},
    kernel::{Kernel, Kernels},
    kernels,
    progress::Board,
    report::{KernelReport, Report, compare::Comparison, file, github, observed::none_reached},
    summary,
};

const NOT_FINISHED: &str = "the harness ended before this kernel was finished";

/// Runs scenarios on kernels, and returns the exit status.
pub fn run(args: &RunArgs) -> Result<u8> {
    // What the user can mend is found first, before anything takes time.
    let planned = scenarios::select(&args.scenarios)?;
    let kernels = Arc::new(kernels::open(&args.store)?);
    let named = match args.kernels.as_slice() {
        [] => Vec::new(),
        kernel_names => kernels.expand(kernel_names)?,
    };
    let own = args.kernel_image.as_deref();
    let own = own
        .map(|image| one::own(image, args.modules.as_deref()))
        .transpose()?;
    let baseline = args.baseline.as_deref().map(file::read).transpose()?;
    let sinks = Sinks::prepare(&args.outputs)?;
    if let Some(keep) = &args.keep {
        fs::create_dir_all(keep)
            .map_err(|e| usage(format!("--keep cannot use {}: {e}", keep.display())))?;
    }

    let interrupt = Interrupt::new().context("cannot listen for signals")?;
    let board = Board::new(args.verbose);
    let mut targets = resolve::resolve(&kernels, &named, &board, &interrupt)?;
    targets.extend(own);
    let names: Vec<_> = targets.iter().map(|target| target.name.clone()).collect();
    let mut report = unfinished(&names, &planned, NOT_FINISHED);
    let ran = Setup::new(args, &planned, &interrupt, kernels, &board).map(|setup| {
        let jobs = args.jobs.map_or_else(jobs::default, usize::from);
        pool::run(&Arc::new(setup), jobs, targets, &mut report, &sinks);
    });
    if let Err(error) = &ran {
        report = unfinished(&names, &planned, &format!("{error:#}"));
    }
    if interrupt.stop().requested() {
        for kernel in &mut report.kernels {
            if kernel.error.as_deref() == Some(NOT_FINISHED) {
                *kernel = not_run(&kernel.requested, &planned, INTERRUPTED);
            }
        }
    }
    // Whatever happened, there is a report, and it lists every kernel and every scenario.
    match (ran, sinks.finish(&report)) {
        (Ok(()), written) => written?,
        (Err(why), Ok(())) => return Err(why),
        (Err(why), Err(also)) => return Err(why.context(format!("{also:#}; before that"))),
    }
    github::annotate(&report.kernels);
    let judged = show(&report, baseline.as_ref(), &board);
    Ok(interrupt.exit_code().unwrap_or(judged))
}

/// Runs these scenarios on one kernel that is at hand, with the usual options.
pub fn boot(
    kernel: &Kernel,
    scenarios: &[&str],
    kernels: Kernels,
    board: &Board,
    interrupt: &Interrupt,
) -> Result<KernelReport> {
    let ids: Vec<_> = scenarios.iter().map(|&id| id.to_owned()).collect();
    let planned = scenarios::select(&ids)?;
    let Cli { run: args, .. } = Cli::try_parse_from(["harness", "--kernel", &kernel.release])?;
    let setup = Setup::new(&args, &planned, interrupt, Arc::new(kernels), board)?;
    Ok(setup.run(&Target::here(kernel.clone())))
}

/// Shows what came out, and returns the exit status for it.
fn show(report: &Report, baseline: Option<&Report>, board: &Board) -> u8 {
    summary::lines(report)
        .into_iter()
        .for_each(|line| board.say(line));
    let Some(baseline) = baseline else {
        return report.verdict.exit_code();
    };
    let comparison = Comparison::new(baseline, report);
    board.say(format_args!("\nagainst the baseline:\n{comparison}"));
    comparison.exit_code()
}

/// A report on kernels of which nothing is known but why.
fn unfinished(names: &[String], planned: &[&'static Scenario], why: &str) -> Report {
    Report::new(
        names
            .iter()
            .map(|name| not_run(name, planned, why))
            .collect(),
    )
}

/// A kernel about which nothing is known but why.
fn not_run(name: &str, planned: &[&'static Scenario], why: &str) -> KernelReport {
    KernelReport {
        requested: name.to_owned(),
        error: Some(why.to_owned()),
        scenarios: none_reached(planned, None, why),
        ..KernelReport::default()
    }
}
