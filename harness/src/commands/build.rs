//! `harness kernels build`: a kernel for which no distribution has packages with fexit.

use anyhow::{Context as _, Result, bail};
use protocol::event::Outcome;

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

/// The scenarios that test a new kernel: fexit loads, attaches and fires, or is refused below its minimum. Modules need not
/// have BTF.
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

/// The scenarios with their outcomes; an error if one is not ok, unless it was skipped.
fn judge(report: &KernelReport) -> Result<Vec<String>> {
    let outcome =
        |scenario: &ScenarioReport| format!("{} {}", scenario.id, outcome_name(scenario.outcome));
    let is_wrong = |scenario: &&ScenarioReport| {
        scenario.verdict != ScenarioVerdict::Ok && scenario.outcome != Outcome::Skipped
    };
    let mut wrong = report.scenarios.iter().filter(is_wrong).peekable();
    if report.verdict == KernelVerdict::Ok && wrong.peek().is_none() {
        return Ok(report.scenarios.iter().map(outcome).collect());
    }
    let wrong = wrong.map(|scenario| {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::report;

    #[test]
    fn kernel_whose_modules_have_no_btf_is_proven_by_the_other_scenarios() {
        let judged = |outcomes: [Outcome; 2]| {
            let [attach, module] = outcomes;
            let report = report(&[("filename_lookup", attach), ("module_target", module)]);
            judge(&report.kernels[0])
        };
        use Outcome::{Failed, Passed, Skipped, Unsupported};
        assert_eq!(
            judged([Passed, Skipped]).unwrap(),
            ["filename_lookup passed", "module_target skipped"]
        );
        for outcomes in [[Skipped, Skipped], [Passed, Failed], [Passed, Unsupported]] {
            let error = judged(outcomes).unwrap_err().to_string();
            assert!(error.contains("neither works nor"), "{outcomes:?}: {error}");
        }
    }
}
