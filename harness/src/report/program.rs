//! Programs of the user's in the report: how each went on a kernel, and how that is judged.

use std::collections::BTreeMap;
use std::path::Path;

use fexit::Ebpf;
use fexit::programs::Program;
use protocol::event::{Event, Outcome};
use protocol::program::{ProgramOutcome, ProgramResult, ReasonKind};
use serde::{Deserialize, Serialize};

use super::observed::{Ending, LastWords};
use super::{KernelReport, KernelVerdict, ScenarioVerdict};
use crate::initramfs::bpf_objects::{Object, Planned, Programs};

const FORGED: &str = "what was reported of programs contradicts itself: something in the VM wrote to the channel of \
                      events, and no result of this run can be relied on";

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

/// What the report says of the objects themselves.
pub fn objects(programs: &Programs) -> Vec<ObjectReport> {
    let report = |object: &Object| ObjectReport {
        path: object.path.display().to_string(),
        not_ours: foreign(&object.parsed),
    };
    programs.objects().iter().map(report).collect()
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
    /// Whether its section is marked with `?`: then the object does without it where it cannot be loaded.
    #[serde(default)]
    pub optional: bool,
    /// What it was loaded for; empty if neither its section nor an option says.
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
            optional: planned.optional,
            target: planned.target.clone().unwrap_or_default(),
            verdict: judge(&result, planned.optional),
            result,
        }
    }

    /// By which it is found again in another report.
    pub fn id(&self) -> String {
        format!("{}:{}", self.object, self.program)
    }

    /// What it is called where people read it.
    pub fn name(&self) -> String {
        let file = Path::new(&self.object).file_name().unwrap_or_default();
        format!("{} of {}", self.program, file.display())
    }

    /// Whether it was skipped because nobody said what it is for: nothing about the kernel is missing then.
    fn has_no_target(&self) -> bool {
        let reason = self.result.reason.as_ref();
        self.result.outcome == ProgramOutcome::Skipped
            && reason.is_some_and(|reason| reason.kind == ReasonKind::NoTarget)
    }

    /// Why it does not work.
    pub fn why(&self) -> Option<&str> {
        self.result
            .reason
            .as_ref()
            .map(|reason| reason.text.as_str())
    }
}

/// A user asks whether a program works; whatever else happened is a no, but that an optional one cannot be loaded.
fn judge(result: &ProgramResult, optional: bool) -> ScenarioVerdict {
    let is_loaded = result.stages.load.is_some_and(|stage| stage.ok);
    match result.outcome {
        ProgramOutcome::Works => ScenarioVerdict::Ok,
        ProgramOutcome::Refused if optional && !is_loaded => ScenarioVerdict::Ok,
        ProgramOutcome::Skipped => ScenarioVerdict::Unknown,
        _ => ScenarioVerdict::NotOk,
    }
}

/// What was reported about the programs of one kernel so far, in one VM or several.
#[derive(Debug)]
pub struct ObservedPrograms {
    programs: Programs,
    running: Option<usize>,
    results: BTreeMap<usize, ProgramResult>,
    /// One that was cut off through no fault of the guest: what counts if it is not tried again.
    provisional: Option<(usize, ProgramResult)>,
    crashed: Vec<usize>,
    done: bool,
    forged: bool,
}

impl ObservedPrograms {
    /// Nothing was reported yet.
    pub fn new(programs: &Programs) -> Self {
        Self {
            programs: programs.clone(),
            running: None,
            results: BTreeMap::new(),
            provisional: None,
            crashed: Vec::new(),
            done: false,
            forged: false,
        }
    }

    /// The places of those that have a result.
    pub fn tried(&self) -> Vec<usize> {
        self.results.keys().copied().collect()
    }

    /// Of these, the ones that were being tried when their VM ended.
    pub fn crashed(&self) -> &[usize] {
        &self.crashed
    }

    /// The place of the one that comes next: they are tried one after the other, in order.
    pub fn next(&self) -> Option<usize> {
        (0..self.programs.planned().len()).find(|index| !self.results.contains_key(index))
    }

    /// Takes in an event; what it says of a program that is over, if it does.
    pub fn event(&mut self, event: &Event) -> Option<ProgramReport> {
        match event {
            // Whatever comes out of order was not sent by the guest itself.
            Event::ProgramStarted { index, .. } => {
                if self.running.is_some() || Some(*index) != self.next() {
                    self.forged = true;
                } else {
                    self.running = Some(*index);
                }
            }
            Event::ProgramFinished { index, result } => {
                if self.running != Some(*index) {
                    self.forged = true;
                    return None;
                }
                self.running = None;
                self.results.insert(*index, (**result).clone());
                return self.report(*index);
            }
            Event::Done { .. } => self.done = true,
            _ => {}
        }
        None
    }

    /// A VM has ended; what it says of the program that was being tried.
    pub fn vm_ended(&mut self, ending: &Ending, words: &LastWords) -> Option<ProgramReport> {
        let index = self.running.take()?;
        let (outcome, text) = ending.outcome();
        let mut result = ProgramResult::bare(cut_off(outcome), ReasonKind::Other, text.as_str());
        if matches!(ending, Ending::Infra(_)) {
            self.provisional = Some((index, result));
            return None;
        }
        if let Some(reason) = &mut result.reason {
            reason.text = words.added_to(text);
        }
        result.splat.clone_from(&words.reports);
        self.crashed.push(index);
        self.results.insert(index, result);
        self.report(index)
    }

    fn report(&self, index: usize) -> Option<ProgramReport> {
        let planned = self.programs.planned().get(index)?;
        Some(ProgramReport::new(
            planned,
            self.results.get(&index)?.clone(),
        ))
    }

    /// Draws the conclusion, after that about the scenarios was drawn. `problem` is what was wrong with the way the last
    /// VM ended.
    pub fn conclude(mut self, problem: Option<&str>, report: &mut KernelReport) {
        if self.programs.planned().is_empty() {
            return;
        }
        let why = match problem {
            Some(problem) if !self.done => format!("not reached: {problem}"),
            _ => "not reached: the guest never reported it".to_owned(),
        };
        let unreached = self.next().is_some();
        report.programs = self.reports(&why);
        let find = |verdict| {
            let mut programs = report.programs.iter().filter(|p| !p.has_no_target());
            programs.find(|program| program.verdict == verdict)
        };
        let unknown = find(ScenarioVerdict::Unknown);
        if find(ScenarioVerdict::NotOk).is_some() {
            report.verdict = KernelVerdict::NotOk;
        } else if report.scenarios.is_empty() && report.error.is_none() && self.done {
            // Of scenarios nothing was to be learned.
            report.error =
                unknown.map(|p| format!("{}: {}", p.name(), p.why().unwrap_or("skipped")));
            if unknown.is_none() {
                report.verdict = KernelVerdict::Ok;
            }
        }
        if (unreached || report.verdict == KernelVerdict::Infra) && report.error.is_none() {
            let why = problem.unwrap_or("the guest was done, yet never reported every program");
            report.error = Some(why.to_owned());
        }
        if self.forged {
            report.verdict = KernelVerdict::NotOk;
            report.error = Some(FORGED.to_owned());
        }
    }

    fn reports(&mut self, why: &str) -> Vec<ProgramReport> {
        let planned = self.programs.planned().iter().enumerate();
        let report = |(index, planned): (usize, &Planned)| {
            let provisional = self.provisional.take_if(|(cut_off, _)| *cut_off == index);
            let result = self.results.remove(&index);
            let result = result.or(provisional.map(|(_, result)| result));
            ProgramReport::new(planned, result.unwrap_or_else(|| skipped(why)))
        };
        planned.map(report).collect()
    }
}

/// The programs of a kernel that was not run, or not yet.
pub fn none_reached(programs: &Programs, why: &str) -> Vec<ProgramReport> {
    ObservedPrograms::new(programs).reports(&format!("not reached: {why}"))
}

fn skipped(why: &str) -> ProgramResult {
    ProgramResult::bare(ProgramOutcome::Skipped, ReasonKind::Other, why)
}

/// What a program came to that was cut off.
fn cut_off(outcome: Outcome) -> ProgramOutcome {
    match outcome {
        Outcome::Panicked => ProgramOutcome::Panicked,
        Outcome::TimedOut => ProgramOutcome::TimedOut,
        Outcome::Skipped => ProgramOutcome::Skipped,
        _ => ProgramOutcome::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::program::Stage;

    #[test]
    fn only_working_programs_are_ok() {
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
            let mut result = skipped("");
            result.outcome = outcome;
            assert_eq!(judge(&result, false), verdict, "{outcome:?}");
            // Of an optional one only that is different: that it cannot be loaded.
            let refused = outcome == O::Refused;
            let verdict = if refused {
                ScenarioVerdict::Ok
            } else {
                verdict
            };
            assert_eq!(judge(&result, true), verdict, "{outcome:?}");
            result.stages.load = Some(Stage { ok: true, us: 1 });
            if refused {
                assert_eq!(judge(&result, true), ScenarioVerdict::NotOk);
            }
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.name());
        }
    }

    fn observed(events: &[Event]) -> KernelReport {
        let mut observed = ObservedPrograms::new(&Programs::named(&["a", "b"]));
        let mut report = KernelReport::default();
        for event in events {
            observed.event(event);
        }
        observed.conclude(None, &mut report);
        report
    }

    fn started(index: usize) -> Event {
        let program = "p".into();
        Event::ProgramStarted { index, program }
    }

    fn finished(index: usize) -> Event {
        let mut result = skipped("");
        (result.outcome, result.reason) = (ProgramOutcome::Works, None);
        Event::ProgramFinished {
            index,
            result: Box::new(result),
        }
    }

    #[test]
    fn events_of_one_program_do_not_change_another() {
        let done = || Event::Done { scenarios: 0 };
        let honest = [started(0), finished(0), started(1), finished(1), done()];
        assert_eq!(observed(&honest).verdict, KernelVerdict::Ok);
        let forged = [
            vec![
                started(0),
                finished(1),
                finished(0),
                started(1),
                finished(1),
            ],
            vec![started(0), started(1), finished(1), finished(0)],
            vec![
                started(0),
                finished(0),
                started(1),
                finished(1),
                finished(0),
            ],
            vec![finished(0)],
        ];
        for mut events in forged {
            events.push(done());
            let report = observed(&events);
            assert_eq!(report.verdict, KernelVerdict::NotOk, "{events:?}");
            assert_eq!(report.error.as_deref(), Some(FORGED), "{events:?}");
        }
    }

    #[test]
    fn unreported_program_is_not_ok() {
        let report = observed(&[started(0), finished(0), Event::Done { scenarios: 0 }]);
        assert_eq!(report.programs[1].verdict, ScenarioVerdict::Unknown);
        assert_ne!(report.verdict, KernelVerdict::Ok);
    }

    #[test]
    fn program_report_is_flat_json_and_round_trips() {
        let report = ProgramReport {
            object: "a.bpf.o".into(),
            program: "on_read".into(),
            section: "fexit/vfs_read".into(),
            optional: false,
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
