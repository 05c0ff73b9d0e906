//! `harness kernels build`: a kernel for which no distribution has packages with fexit.

use anyhow::{Context as _, Result, bail};

use crate::{
    cli::build::BuildArgs,
    commands::run,
    kernels::{
        Build, Kernel, Kernels,
        build::{Built, Tools},
    },
    report::{
        KernelReport, KernelVerdict, ScenarioReport, ScenarioVerdict, terminal::Board,
        verdict::outcome_name,
    },
    support::interrupt::Interrupt,
};

/// The scenarios that a new kernel must pass: fexit loads, attaches and fires, or is refused below its minimum.
const PROOF: [&str; 3] = [
    "filename_lookup",
    "arguments_and_return_value",
    "module_target",
];

/// Builds a kernel, tests fexit in it, and returns the exit status.
pub fn command(args: &BuildArgs) -> Result<u8> {
    let kernels = Kernels::open(args.store.clone())?;
    let tools = Tools::find()?;
    let interrupt = Interrupt::new().context("cannot listen for signals")?;
    let board = Board::new(false);
    let line = board.line(args.options.kernel.as_deref().unwrap_or("build"));
    let work = {
        let (args, board, interrupt) = (args.clone(), board.clone(), interrupt.clone());
        move || build(&args, &kernels, &tools, &board, &interrupt)
    };
    match (interrupt.or_leave(work), interrupt.exit_code()) {
        (
            Ok(Built {
                kernel,
                was_there,
                took,
            }),
            _,
        ) => {
            let how = if was_there {
                "had been built before".to_owned()
            } else {
                let seconds = took.as_secs();
                format!("is built, in {} min {} s", seconds / 60, seconds % 60)
            };
            let build = kernel.source.build.as_ref();
            let side = if build.is_some_and(Build::is_lower_side) {
                "; it has no fexit and refuses it correctly"
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
    let line = board.line(args.options.kernel.as_deref().unwrap_or("build"));
    let prove = |kernel: &Kernel| prove(args, kernel, board, interrupt);
    kernels.build(&args.options, tools, interrupt.stop(), &line, &prove)
}

/// Runs the scenarios of [`PROOF`].
fn prove(
    args: &BuildArgs,
    kernel: &Kernel,
    board: &Board,
    interrupt: &Interrupt,
) -> Result<Vec<String>> {
    let report = run::boot(
        kernel,
        &PROOF,
        Kernels::open(args.store.clone())?,
        board,
        interrupt,
    )?;
    judge(&report)
}

/// The scenarios with their outcomes; an error if one is not ok.
fn judge(report: &KernelReport) -> Result<Vec<String>> {
    if report.verdict == KernelVerdict::Ok
        && report
            .scenarios
            .iter()
            .all(|scenario| scenario.verdict == ScenarioVerdict::Ok)
    {
        let outcome = |scenario: &ScenarioReport| {
            format!("{} {}", scenario.id, outcome_name(scenario.outcome))
        };
        return Ok(report.scenarios.iter().map(outcome).collect());
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
        "fexit neither works nor is correctly refused: {}\nthe last lines of the console:\n{}",
        wrong.join("; "),
        report.console_tail.join("\n")
    )
}
