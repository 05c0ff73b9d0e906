//! `harness kernels build`: a kernel that nobody publishes ready for fexit.

use std::thread;

use anyhow::{Context as _, Result, bail};

use crate::{
    cli::build::BuildArgs,
    commands::run,
    kernels::{
        Build, Kernel, Kernels,
        build::{Built, Order, Tools},
    },
    report::{
        KernelReport, KernelVerdict, ScenarioReport, ScenarioVerdict, terminal::Board,
        verdict::outcome_name,
    },
    support::interrupt::Interrupt,
};

/// A kernel counts only if these show that fexit loads, attaches and fires in it, or is refused as it should be.
const PROOF: [&str; 3] = [
    "filename_lookup",
    "arguments_and_return_value",
    "module_target",
];

/// Builds a kernel, shows that fexit works in it, and returns the exit status.
pub fn command(args: &BuildArgs) -> Result<u8> {
    let kernels = Kernels::open(args.store.options())?;
    let tools = Tools::find()?;
    let interrupt = Interrupt::new().context("cannot listen for signals")?;
    let board = Board::new(false);
    let line = board.line(args.kernel.as_deref().unwrap_or("build"));
    let work = {
        let (args, board, interrupt) = (args.clone(), board.clone(), interrupt.clone());
        move || build(&args, &kernels, &tools, &board, &interrupt)
    };
    match (interrupt.or_leave(work), interrupt.exit_code()) {
        (Ok(Built { kernel, was_there }), _) => {
            let how = if was_there {
                "had been built before"
            } else {
                "is built"
            };
            let build = kernel.source.build.as_ref();
            let side = if build.is_some_and(Build::is_lower_side) {
                ", without fexit, which it refuses as it should"
            } else {
                ""
            };
            line.note(&format!(
                "{how}{side}: `harness --kernel {}` boots it",
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

fn build(
    args: &BuildArgs,
    kernels: &Kernels,
    tools: &Tools,
    board: &Board,
    interrupt: &Interrupt,
) -> Result<Built> {
    let line = board.line(args.kernel.as_deref().unwrap_or("build"));
    let jobs = match args.jobs {
        Some(jobs) => jobs.into(),
        None => thread::available_parallelism().map_or(1, usize::from),
    };
    let order = Order {
        kernel: args.kernel.as_deref(),
        source: args.source.as_deref(),
        fragments: &args.config,
        tools,
        jobs,
        again: args.again,
        stop: interrupt.stop(),
    };
    kernels.build(&order, &line, &|kernel| {
        prove(args, kernel, board, interrupt)
    })
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
        "fexit neither works in it nor is refused as it should be: {}\nthe end of its console:\n{}",
        wrong.join("; "),
        report.console_tail.join("\n")
    )
}
