//! Programs of the user's in the report: how each went on a kernel, and how that is judged.

use std::collections::BTreeMap;

use fexit::Ebpf;
use fexit::programs::Program;
use guest::event::Event;
use guest::program::{ProgramOutcome, ProgramResult, ReasonKind};
use serde::{Deserialize, Serialize};

use super::observed::Ending;
use super::{KernelReport, KernelVerdict, ScenarioVerdict};
use crate::objects::{Planned, Programs};

/// An object, and what of it is no business of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectReport {
    /// As it was given.
    pub path: String,
    /// Its programs of other kinds than fexit, which were left alone.
    pub not_ours: Vec<Foreign>,
}

/// A program of another kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Foreign {
    /// Its name.
    pub name: String,
    /// The section that it stands in.
    pub section: String,
    /// Its kind, as `xdp`.
    pub kind: String,
}

/// The programs of an object that are not fexit.
pub fn foreign(object: &Ebpf) -> Vec<Foreign> {
    let others = object
        .programs()
        .filter(|(_, program)| matches!(program, Program::Other(_)));
    others
        .map(|(name, program)| Foreign {
            name: name.to_owned(),
            section: program.section().to_owned(),
            kind: program.kind().to_owned(),
        })
        .collect()
}

/// One program on one kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProgramReport {
    /// Its object, as it was given.
    pub object: String,
    /// Its name.
    pub program: String,
    /// The section that it stands in.
    pub section: String,
    /// What it was loaded for.
    pub target: String,
    /// Whether it works.
    pub verdict: ScenarioVerdict,
    /// How it went.
    #[serde(flatten)]
    pub result: ProgramResult,
}

impl ProgramReport {
    fn new(planned: &Planned, result: ProgramResult) -> Self {
        Self {
            object: planned.object.clone(),
            program: planned.task.program.clone(),
            section: planned.section.clone(),
            target: planned.target.clone(),
            verdict: judge(result.outcome),
            result,
        }
    }

    /// By which it is found again in another report.
    pub fn id(&self) -> String {
        format!("{}:{}", self.object, self.program)
    }

    /// Why it does not work.
    pub fn why(&self) -> Option<&str> {
        self.result
            .reason
            .as_ref()
            .map(|reason| reason.text.as_str())
    }
}

/// A user asks whether a program works; whatever else happened is a no.
fn judge(outcome: ProgramOutcome) -> ScenarioVerdict {
    match outcome {
        ProgramOutcome::Works => ScenarioVerdict::Ok,
        ProgramOutcome::Skipped => ScenarioVerdict::Unknown,
        _ => ScenarioVerdict::NotOk,
    }
}

/// What was heard of the programs of one kernel so far.
#[derive(Debug)]
pub struct Heard {
    programs: Programs,
    running: Option<usize>,
    results: BTreeMap<usize, ProgramResult>,
    done: bool,
}

impl Heard {
    /// Nothing was heard yet.
    pub fn new(programs: &Programs) -> Self {
        Self {
            programs: programs.clone(),
            running: None,
            results: BTreeMap::new(),
            done: false,
        }
    }

    /// Takes in an event; what it says of a program that is over, if it does.
    pub fn event(&mut self, event: &Event) -> Option<ProgramReport> {
        match event {
            Event::ProgramStarted { index, .. } => self.running = Some(*index),
            Event::ProgramFinished { index, result } => {
                let planned = self.programs.planned().get(*index)?;
                self.running = None;
                // The first word counts: what a program adds later about another one is none.
                let result = self
                    .results
                    .entry(*index)
                    .or_insert_with(|| (**result).clone());
                return Some(ProgramReport::new(planned, result.clone()));
            }
            Event::Done { .. } => self.done = true,
            _ => {}
        }
        None
    }

    /// Draws the conclusion, after that about the scenarios was drawn.
    pub fn conclude(mut self, ending: &Ending, report: &mut KernelReport) {
        if self.programs.planned().is_empty() {
            return;
        }
        let cut_off = cut_off(ending);
        if let Some(index) = self.running.take() {
            self.results.entry(index).or_insert(cut_off);
        }
        let why = match (&report.error, self.done) {
            (Some(error), false) => format!("not reached: {error}"),
            _ => "not reached: the guest never reported it".to_owned(),
        };
        report.programs = self.reports(&why);
        let any = |verdict| {
            report
                .programs
                .iter()
                .any(|program| program.verdict == verdict)
        };
        if any(ScenarioVerdict::NotOk) {
            report.verdict = KernelVerdict::NotOk;
        } else if report.scenarios.is_empty() && self.done && !any(ScenarioVerdict::Unknown) {
            // Of scenarios nothing was to be learned.
            report.verdict = KernelVerdict::Ok;
            report.error = None;
        } else if report.scenarios.is_empty() && self.done {
            report.error = Some("the guest was done, yet never reported every program".to_owned());
        }
        if report.verdict == KernelVerdict::NotOk && report.scenarios.is_empty() && self.done {
            report.error = None; // each program says why
        }
    }

    fn reports(&mut self, why: &str) -> Vec<ProgramReport> {
        let planned = self.programs.planned().iter().enumerate();
        let report = |(index, planned): (usize, &Planned)| {
            let result = self.results.remove(&index);
            ProgramReport::new(planned, result.unwrap_or_else(|| skipped(why)))
        };
        planned.map(report).collect()
    }
}

/// The programs of a kernel that was not run, or not yet.
pub fn none_reached(programs: &Programs, why: &str) -> Vec<ProgramReport> {
    Heard::new(programs).reports(&format!("not reached: {why}"))
}

fn skipped(why: &str) -> ProgramResult {
    ProgramResult::bare(ProgramOutcome::Skipped, ReasonKind::Other, why)
}

/// What the end of a VM says of the program that was being tried.
fn cut_off(ending: &Ending) -> ProgramResult {
    let (outcome, text) = match ending {
        Ending::Panicked(message) => (
            ProgramOutcome::Panicked,
            format!("the kernel panicked: {message}"),
        ),
        Ending::TimedOut(limit) => (ProgramOutcome::TimedOut, limit.clone()),
        Ending::Broke(how) => (ProgramOutcome::Failed, how.clone()),
        Ending::Done => (
            ProgramOutcome::Failed,
            "the guest was done with it unfinished".to_owned(),
        ),
        Ending::Infra(reason) => (ProgramOutcome::Skipped, format!("cut off: {reason}")),
    };
    ProgramResult::bare(outcome, ReasonKind::Other, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_works_is_ok() {
        use ProgramOutcome as O;
        for (outcome, verdict) in [
            (O::Works, ScenarioVerdict::Ok),
            (O::Refused, ScenarioVerdict::NotOk),
            (O::Failed, ScenarioVerdict::NotOk),
            (O::TimedOut, ScenarioVerdict::NotOk),
            (O::Panicked, ScenarioVerdict::NotOk),
            (O::Splat, ScenarioVerdict::NotOk),
            (O::Skipped, ScenarioVerdict::Unknown),
        ] {
            assert_eq!(judge(outcome), verdict, "{outcome:?}");
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.name());
        }
    }

    #[test]
    fn a_report_is_flat_and_comes_back_as_it_was() {
        let report = ProgramReport {
            object: "a.bpf.o".into(),
            program: "on_read".into(),
            section: "fexit/vfs_read".into(),
            target: "vfs_read".into(),
            verdict: ScenarioVerdict::NotOk,
            result: skipped("why"),
        };
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(
            (&json["outcome"], &json["verdict"]),
            (&"skipped".into(), &"not-ok".into())
        );
        assert_eq!(
            serde_json::from_value::<ProgramReport>(json).unwrap(),
            report
        );
    }
}
