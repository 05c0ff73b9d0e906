//! The results as a matrix: a row for each scenario and program, a column for each kernel.

use protocol::event::Outcome;

use super::{
    model::{KernelReport, Report, ScenarioReport},
    program::ProgramReport,
    verdict::ScenarioVerdict,
};

/// One scenario or program on all kernels.
#[derive(Debug)]
pub(super) struct Row<'a> {
    /// The id of the scenario or program.
    pub(super) id: String,
    /// The minimum kernel of a scenario, or `any`; `program` for a program.
    pub(super) from: &'a str,
    /// Its result on each kernel; `None` if the kernel has none.
    pub(super) cells: Vec<Option<Cell<'a>>>,
}

/// One result.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cell<'a> {
    /// Of a scenario.
    Scenario(&'a ScenarioReport),
    /// Of a program.
    Program(&'a ProgramReport),
}

/// A row for each scenario, then for each program, in the order of the kernels.
pub(super) fn rows(report: &Report) -> Vec<Row<'_>> {
    let scenarios = report.kernels.iter().flat_map(|kernel| &kernel.scenarios);
    let scenarios = scenarios.map(|s| (s.id.clone(), s.minimum.as_deref().unwrap_or("any")));
    let programs = report.kernels.iter().flat_map(|kernel| &kernel.programs);
    let programs = programs.map(|program| (program.id(), "program"));
    let mut rows: Vec<Row<'_>> = Vec::new();
    for (id, from) in scenarios.chain(programs) {
        if rows.iter().all(|row| row.id != id) {
            let cells = report.kernels.iter().map(|kernel| cell(kernel, &id));
            let cells = cells.collect();
            rows.push(Row { id, from, cells });
        }
    }
    rows
}

fn cell<'a>(kernel: &'a KernelReport, id: &str) -> Option<Cell<'a>> {
    let program = || kernel.program(id).map(Cell::Program);
    kernel.scenario(id).map(Cell::Scenario).or_else(program)
}

impl Cell<'_> {
    pub(super) fn verdict(self) -> ScenarioVerdict {
        match self {
            Self::Scenario(scenario) => scenario.verdict,
            Self::Program(program) => program.verdict,
        }
    }

    /// What the verdict does not tell, as `refused`; often empty.
    pub(super) fn note(self) -> String {
        match self {
            Self::Scenario(scenario) => scenario_note(scenario).to_owned(),
            Self::Program(program) => program_note(program),
        }
    }
}

fn scenario_note(scenario: &ScenarioReport) -> &'static str {
    match (scenario.verdict, scenario.outcome) {
        (ScenarioVerdict::Ok, _) if scenario.flaky => "flaky",
        (ScenarioVerdict::Ok, _) if scenario.backported => match scenario.in_btf {
            Some(_) => "backported",
            None => "backported, by behaviour",
        },
        (ScenarioVerdict::Ok, Outcome::Unsupported) => "refused",
        (ScenarioVerdict::Ok, _) => "",
        (ScenarioVerdict::Unknown, _) => "skipped",
        (ScenarioVerdict::NotOk, Outcome::Passed) => "passed",
        (ScenarioVerdict::NotOk, Outcome::Unsupported) => "refused",
        (ScenarioVerdict::NotOk, Outcome::TimedOut) => "timed out",
        (ScenarioVerdict::NotOk, Outcome::Panicked) => "panicked",
        (ScenarioVerdict::NotOk, Outcome::Splat) => "splat",
        (ScenarioVerdict::NotOk, Outcome::Failed | Outcome::Skipped) => "failed",
    }
}

fn program_note(program: &ProgramReport) -> String {
    let result = &program.result;
    let runs = result.run_count.filter(|_| result.trigger.is_some());
    match (program.verdict, runs) {
        (ScenarioVerdict::Ok, _) if program.flaky => "flaky".to_owned(),
        (ScenarioVerdict::Ok, None) => String::new(),
        (ScenarioVerdict::Ok, Some(count)) => format!("{count} runs"),
        (ScenarioVerdict::Unknown, _) => "skipped".to_owned(),
        (ScenarioVerdict::NotOk, _) => result.outcome.name().to_owned(),
    }
}
