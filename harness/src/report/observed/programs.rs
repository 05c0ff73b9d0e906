//! Collects the events about the programs of one kernel.

use std::collections::BTreeMap;

use protocol::{
    event::{Event, Outcome},
    program::{ProgramOutcome, ProgramResult, ReasonKind},
};

use super::ending::{ConsoleExcerpt, Ending};
use crate::{
    initramfs::bpf_objects::{Planned, Programs},
    report::{
        KernelReport, KernelVerdict, ProgramReport, ScenarioVerdict, program::accept_alternatives,
    },
};

const FORGED: &str = "the events about programs contradict each other: a process in the VM wrote to the channel of \
                      events, and no result of this run is reliable";

/// The programs of one kernel: what the guest has reported so far, in all VMs.
#[derive(Debug)]
pub struct ObservedPrograms {
    programs: Programs,
    running: Option<usize>,
    results: BTreeMap<usize, ProgramResult>,
    /// The program that ran when the infrastructure failed; its result counts if it does not run again.
    provisional: Option<(usize, ProgramResult)>,
    crashed: Vec<usize>,
    done: bool,
    forged: bool,
}

impl ObservedPrograms {
    /// Nothing has been reported yet.
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

    /// The indexes of the programs that have a result.
    pub fn tried(&self) -> Vec<usize> {
        self.results.keys().copied().collect()
    }

    /// Of these, the programs that ran when their VM crashed.
    pub fn crashed(&self) -> &[usize] {
        &self.crashed
    }

    /// The index of the next program: they run one after the other, in order.
    pub fn next(&self) -> Option<usize> {
        (0..self.programs.planned().len()).find(|index| !self.results.contains_key(index))
    }

    /// Takes in an event. Returns the result of the program if it has ended.
    pub fn event(&mut self, event: &Event) -> Option<ProgramReport> {
        match event {
            // The guest sends its events in order: others are forged.
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

    /// A VM has ended. Returns the result of the program that ran.
    pub fn vm_ended(&mut self, ending: &Ending, console: &ConsoleExcerpt) -> Option<ProgramReport> {
        let index = self.running.take()?;
        let (outcome, text) = ending.outcome();
        let mut result = ProgramResult::bare(cut_off(outcome), ReasonKind::Other, text.as_str());
        if matches!(ending, Ending::Infra(_)) {
            self.provisional = Some((index, result));
            return None;
        }
        if let Some(reason) = &mut result.reason {
            reason.text = console.append_to(text);
        }
        result.splat.clone_from(&console.splats);
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

    /// Adds the programs to the report, whose scenarios are complete. `problem` says what was wrong with the end of the last
    /// VM.
    pub fn conclude(mut self, problem: Option<&str>, report: &mut KernelReport) {
        if self.programs.planned().is_empty() {
            return;
        }
        let why = match problem {
            Some(problem) if !self.done => format!("not reached: {problem}"),
            _ => "not reached: the guest did not report it".to_owned(),
        };
        let unreached = self.next().is_some();
        report.programs = self.reports(&why);
        let find = |verdict| {
            let mut programs = report.programs.iter().filter(|p| !p.is_left_out());
            programs.find(|program| program.verdict == verdict)
        };
        let unknown = find(ScenarioVerdict::Unknown);
        let all_left_out = report.programs.iter().all(ProgramReport::is_left_out);
        if find(ScenarioVerdict::NotOk).is_some() {
            report.verdict = KernelVerdict::NotOk;
        } else if report.scenarios.is_empty() && report.error.is_none() && self.done {
            // The run was for programs only.
            report.error =
                unknown.map(|p| format!("{}: {}", p.name(), p.why().unwrap_or("skipped")));
            if all_left_out {
                report.error = Some("no program was tried: see the reason of each".to_owned());
            } else if unknown.is_none() {
                report.verdict = KernelVerdict::Ok;
            }
        }
        if (unreached || report.verdict == KernelVerdict::Infra) && report.error.is_none() {
            let why = problem.unwrap_or("the guest was done, but did not report every program");
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
            let skipped = || ProgramResult::bare(ProgramOutcome::Skipped, ReasonKind::Other, why);
            ProgramReport::new(planned, result.unwrap_or_else(skipped))
        };
        let mut programs: Vec<_> = planned.map(report).collect();
        accept_alternatives(&mut programs);
        programs
    }
}

/// The programs of a kernel that was not run.
pub fn none_reached(programs: &Programs, why: &str) -> Vec<ProgramReport> {
    ObservedPrograms::new(programs).reports(&format!("not reached: {why}"))
}

/// The outcome of a program that ran when its VM ended.
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
        let mut result = ProgramResult::bare(ProgramOutcome::Works, ReasonKind::Other, "");
        result.reason = None;
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
}
