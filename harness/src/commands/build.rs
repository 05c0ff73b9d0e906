//! `harness kernels build`: a kernel that nobody publishes ready for fexit.

use std::{path::PathBuf, thread};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{
    cli::StoreArgs,
    commands::run,
    kernels::{
        Kernel, Kernels,
        build::{Built, Order, Tools},
    },
    report::{
        KernelReport, KernelVerdict, ScenarioReport, ScenarioVerdict, terminal::Board,
        verdict::outcome_name,
    },
    support::interrupt::Interrupt,
};

/// A kernel counts only if these show that fexit loads, attaches and fires in it.
const PROOF: [&str; 3] = [
    "filename_lookup",
    "arguments_and_return_value",
    "module_target",
];

/// Which kernel to build, and from what.
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// A series (5.5), of which the newest release is built, or a release (5.5.19)
    #[arg(value_name = "KERNEL", required_unless_present = "source")]
    kernel: Option<String>,

    /// Build this tree of kernel sources, or a tarball of one, instead of kernel.org's release
    #[arg(long, value_name = "DIR|TARBALL")]
    source: Option<PathBuf>,

    /// Ask for the options of this fragment, too
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,

    /// How many compilers at once [default: as many as there are cores]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,

    /// Build from the start what was built before, or was left unfinished
    #[arg(long)]
    again: bool,

    /// Which kernels there are, and where they are kept.
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// Builds a kernel, shows that fexit works in it, and returns the exit status.
pub fn command(args: &BuildArgs) -> Result<u8> {
    let kernels = Kernels::open(args.store.options())?;
    let tools = Tools::find()?;
    let interrupt = Interrupt::new().context("cannot listen for signals")?;
    let board = Board::new(false);
    let line = board.line(args.kernel.as_deref().unwrap_or("build"));
    let jobs = match args.jobs {
        Some(jobs) => jobs.into(),
        None => thread::available_parallelism().map_or(1, usize::from),
    };
    let order = Order {
        kernel: args.kernel.as_deref(),
        source: args.source.as_deref(),
        fragments: &args.config,
        tools: &tools,
        jobs,
        again: args.again,
        stop: interrupt.stop(),
    };
    let prove = |kernel: &Kernel| prove(args, kernel, &board, &interrupt);
    let built = kernels.build(&order, &line, &prove);
    match (built, interrupt.exit_code()) {
        (Ok(Built { kernel, was_there }), _) => {
            let how = if was_there {
                "had been built before"
            } else {
                "is built"
            };
            line.note(&format!(
                "{how}: `harness --kernel {}` boots it",
                kernel.release
            ));
            Ok(0)
        }
        (Err(error), Some(status)) => {
            board.say(format_args!("{error:#}"));
            Ok(status)
        }
        (Err(error), None) => Err(error),
    }
}

/// Runs the scenarios of the proof.
fn prove(
    args: &BuildArgs,
    kernel: &Kernel,
    board: &Board,
    interrupt: &Interrupt,
) -> Result<Vec<String>> {
    let report = run::boot(
        kernel,
        &PROOF,
        Kernels::open(args.store.options())?,
        board,
        interrupt,
    )?;
    judge(&report)
}

/// Which scenarios were ok; what was wrong if not all were.
fn judge(report: &KernelReport) -> Result<Vec<String>> {
    if report.verdict == KernelVerdict::Ok
        && report
            .scenarios
            .iter()
            .all(|scenario| scenario.verdict == ScenarioVerdict::Ok)
    {
        let told = |scenario: &ScenarioReport| {
            format!("{} {}", scenario.id, outcome_name(scenario.outcome))
        };
        return Ok(report.scenarios.iter().map(told).collect());
    }
    let wrong = report
        .scenarios
        .iter()
        .filter(|scenario| scenario.verdict != ScenarioVerdict::Ok)
        .map(|scenario| {
            let why = scenario.error.as_deref().unwrap_or("no reason given");
            format!("{}: {why}", scenario.id)
        });
    let wrong: Vec<_> = report.error.iter().cloned().chain(wrong).collect();
    bail!(
        "fexit does not work in it: {}\nthe end of its console:\n{}",
        wrong.join("; "),
        report.console_tail.join("\n")
    )
}
