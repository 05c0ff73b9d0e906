//! What scenarios, programs and kernels themselves have in common: a result that is listed, compared and merged.

use super::model::{KernelReport, ResultSummary, ScenarioReport};
use super::program::ProgramReport;
use super::verdict::{KernelVerdict, ScenarioVerdict, outcome_name};

impl ResultSummary {
    /// The id, or `kernel` for the kernel itself.
    pub fn name(&self) -> &str {
        self.id.as_deref().unwrap_or("kernel")
    }

    /// The error, or an empty text.
    pub fn error(&self) -> &str {
        self.error.as_deref().unwrap_or_default()
    }
}

impl From<&ScenarioReport> for ResultSummary {
    fn from(scenario: &ScenarioReport) -> Self {
        Self {
            id: Some(scenario.id.clone()),
            outcome: outcome_name(scenario.outcome).to_owned(),
            verdict: scenario.verdict,
            error: scenario.error.clone(),
        }
    }
}

impl From<&ProgramReport> for ResultSummary {
    fn from(program: &ProgramReport) -> Self {
        Self {
            id: Some(program.id()),
            outcome: program.result.outcome.name().to_owned(),
            verdict: program.verdict,
            error: program.why().map(str::to_owned),
        }
    }
}

impl From<&KernelReport> for ResultSummary {
    fn from(kernel: &KernelReport) -> Self {
        Self {
            id: None,
            outcome: kernel.verdict.to_string(),
            verdict: match kernel.verdict {
                KernelVerdict::Ok => ScenarioVerdict::Ok,
                KernelVerdict::NotOk => ScenarioVerdict::NotOk,
                KernelVerdict::Infra => ScenarioVerdict::Unknown,
            },
            error: kernel.error.clone(),
        }
    }
}

impl KernelReport {
    /// The results of all scenarios, then of all programs.
    pub fn results(&self) -> impl Iterator<Item = ResultSummary> {
        let programs = self.programs.iter().map(ResultSummary::from);
        self.scenarios
            .iter()
            .map(ResultSummary::from)
            .chain(programs)
    }

    /// The results that are not ok.
    pub fn not_ok(&self) -> impl Iterator<Item = ResultSummary> {
        self.results()
            .filter(|result| result.verdict == ScenarioVerdict::NotOk)
    }

    /// The result of the scenario or program with that id.
    pub fn result(&self, id: &str) -> Option<ResultSummary> {
        let program = || self.program(id).map(ResultSummary::from);
        self.scenario(id).map(ResultSummary::from).or_else(program)
    }

    /// How many scenarios and programs have that verdict.
    pub fn count(&self, verdict: ScenarioVerdict) -> usize {
        self.results()
            .filter(|result| result.verdict == verdict)
            .count()
    }

    /// Those of [`Self::other_results`] whose outcome is not that of the result that counts.
    pub fn contradicting_results(&self) -> impl Iterator<Item = &ResultSummary> {
        self.other_results.iter().filter(|other| {
            let counted = other.id.as_deref().and_then(|id| self.result(id));
            counted.is_none_or(|counted| counted.outcome != other.outcome)
        })
    }
}
