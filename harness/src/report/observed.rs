//! Turns the guest's events, and the ways in which the VMs of a kernel ended, into the kernel's part of the report.

pub mod ending;
mod judge;
pub mod programs;

use std::collections::{BTreeMap, BTreeSet};

use protocol::{
    event::{Event, Outcome, ScenarioResult},
    scenario::Scenario,
};

use self::{
    ending::{ConsoleExcerpt, Ending},
    judge::judge,
};
use super::{
    model::{KernelReport, ScenarioReport},
    verdict::{self, KernelVerdict, Running},
};

/// The report keeps this many warnings of the guest, and counts the rest.
const MAX_WARNINGS: usize = 200;

/// The scenarios of one kernel: what the guest has reported so far, in all VMs.
#[derive(Debug)]
pub struct Observed {
    planned: Vec<Scenario>,
    running: Option<Running>,
    side_by_side: bool,
    results: BTreeMap<String, ScenarioResult>,
    /// Results of scenarios that ran when a VM ended, in parallel or through a failure of the infrastructure. They count
    /// if the scenarios do not run again.
    provisional: BTreeMap<String, ScenarioResult>,
    /// Scenarios whose last run was in parallel with others.
    in_parallel: BTreeSet<String>,
    /// Scenarios that failed in parallel. Their results count if they do not run again.
    to_retry: BTreeSet<String>,
    /// Scenarios that ran serially when a VM crashed.
    crashed: BTreeSet<String>,
    /// The scenarios that ran in parallel when a VM crashed, and how it crashed.
    parallel_crashes: Vec<(Vec<String>, String)>,
    /// Errors of the kernel itself, which no scenario explains.
    kernel_errors: Vec<String>,
    warnings: Vec<String>,
    more_warnings: usize,
    vm: CurrentVm,
    /// What was wrong with the end of the last VM, if anything.
    problem: Option<String>,
}

/// What the current VM has reported.
#[derive(Debug, Default)]
struct CurrentVm {
    /// The scenarios that have started and not finished.
    running: Vec<String>,
    program: Option<String>,
    /// The scenario that finished last.
    last: Option<String>,
    has_started: bool,
    ready: bool,
    done: bool,
}

impl Observed {
    /// Nothing has been reported yet about that kernel.
    pub fn new(planned: &[Scenario], running: Option<Running>) -> Self {
        Self {
            planned: planned.to_vec(),
            running,
            side_by_side: false,
            results: BTreeMap::new(),
            provisional: BTreeMap::new(),
            in_parallel: BTreeSet::new(),
            to_retry: BTreeSet::new(),
            crashed: BTreeSet::new(),
            parallel_crashes: Vec::new(),
            kernel_errors: Vec::new(),
            warnings: Vec::new(),
            more_warnings: 0,
            vm: CurrentVm::default(),
            problem: None,
        }
    }

    /// The scenarios that have no result yet, or that failed in parallel.
    pub fn rest(&self) -> Vec<Scenario> {
        let open = |id: &String| !self.results.contains_key(id) || self.to_retry.contains(id);
        let rest = self.planned.iter().filter(|planned| open(&planned.id));
        rest.cloned().collect()
    }

    /// A VM has started, with [`Observed::rest`].
    pub fn vm_started(&mut self) {
        self.vm = CurrentVm::default();
    }

    /// Takes in one event, about a scenario or program of the current VM.
    pub fn event(&mut self, event: &Event) {
        let vm = &mut self.vm;
        match event {
            Event::Ready { .. } => vm.ready = true,
            Event::Warning { message } => self.warn(message.clone()),
            Event::Started { scenario } => {
                vm.has_started = true;
                if !vm.running.contains(scenario) {
                    vm.running.push(scenario.clone());
                }
                if vm.running.len() > 1 {
                    self.side_by_side = true;
                    self.in_parallel.extend(vm.running.iter().cloned());
                } else {
                    self.in_parallel.remove(scenario);
                }
            }
            Event::Finished { scenario, result } => {
                let ran = vm.running.contains(scenario);
                vm.running.retain(|running| running != scenario);
                vm.last = Some(scenario.clone());
                if ran && self.in_parallel.contains(scenario) && !result.is_well() {
                    self.to_retry.insert(scenario.clone());
                } else {
                    self.to_retry.remove(scenario);
                }
                self.results.insert(scenario.clone(), result.clone());
            }
            // `ObservedPrograms` has the results of programs; here they only tell what ran when the VM ended.
            Event::ProgramStarted { program, .. } => {
                (vm.has_started, vm.program) = (true, Some(program.clone()));
            }
            Event::ProgramFinished { .. } => vm.program = None,
            Event::Done { .. } => vm.done = true,
            // The observer of the VM handles it, together with the end of the VM.
            Event::CannotGoOn { .. } => {}
            other => self.warn(format!("the guest sent an unknown event: {other:?}")),
        }
    }

    fn warn(&mut self, message: String) {
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(message);
        } else {
            self.more_warnings += 1;
        }
    }

    /// Whether the scenario has started before: one that failed in parallel runs again.
    pub fn has_seen(&self, id: &str) -> bool {
        self.results.contains_key(id)
            || self.provisional.contains_key(id)
            || self.vm.running.iter().any(|running| running == id)
    }

    /// Whether the scenario failed in parallel, and runs again.
    pub fn runs_again(&self, id: &str) -> bool {
        self.to_retry.contains(id)
    }

    /// The scenarios that are running.
    pub fn running(&self) -> &[String] {
        &self.vm.running
    }

    /// The names of the scenarios and the program that are running.
    pub fn running_names(&self) -> Vec<String> {
        let program = self.vm.program.iter();
        let program = program.map(|program| format!("the program {program}"));
        self.vm.running.iter().cloned().chain(program).collect()
    }

    /// Whether a scenario or program has started in this VM.
    pub fn has_started(&self) -> bool {
        self.vm.has_started
    }

    /// What was wrong with the end of the last VM, if anything.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Adds to the problem of the last VM, if there is one, why no other VM follows.
    pub fn no_more(&mut self, why: &str) {
        if let Some(problem) = &mut self.problem {
            problem.push_str("; ");
            problem.push_str(why);
        }
    }

    /// The result of a scenario so far, judged.
    pub fn judged(&self, id: &str) -> Option<ScenarioReport> {
        let planned = self.planned.iter().find(|planned| planned.id == id)?;
        let result = self.results.get(id).or_else(|| self.provisional.get(id))?;
        Some(judge(planned, result.clone(), self.running))
    }

    /// A VM has ended. A scenario that ran serially then gets its outcome; those that ran in parallel get it provisionally.
    pub fn vm_ended(&mut self, ending: &Ending, console: &ConsoleExcerpt) {
        self.problem = self.problem_of(ending);
        let running = std::mem::take(&mut self.vm.running);
        let results: Vec<_> = running
            .iter()
            .map(|id| (id.clone(), interrupted(id, &running, ending, console)))
            .collect();
        let is_crash = self.vm.ready && !matches!(ending, Ending::Infra(_));
        match (&self.problem, running.as_slice()) {
            (None, []) => {}
            (_, [id]) if is_crash && !self.in_parallel.contains(id) => {
                self.crashed.insert(id.clone());
                self.to_retry.remove(id);
                self.results.extend(results);
            }
            (Some(problem), []) if is_crash => {
                // The crash is the outcome of the program.
                if self.vm.program.is_none() {
                    self.kernel_errors.push(problem.clone());
                }
            }
            (problem, _) => {
                if is_crash {
                    let problem = problem.clone().unwrap_or_default();
                    self.parallel_crashes.push((running, problem));
                }
                for (id, _) in &results {
                    self.results.remove(id);
                }
                self.provisional.extend(results);
            }
        }
    }

    /// Adds to the report each scenario's outcome and verdict, and the kernel's verdict and error.
    pub fn conclude(mut self, report: &mut KernelReport) {
        for (ids, problem) in &self.parallel_crashes {
            let ran_again = ids.iter().all(|id| self.results.contains_key(id));
            if ran_again && !ids.iter().any(|id| self.crashed.contains(id)) {
                let error = format!("{problem}; it did not recur when each of them ran serially");
                self.kernel_errors.push(error);
            }
        }
        let mut unreached = false;
        report.side_by_side = self.side_by_side;
        report.scenarios = Vec::new();
        for planned in &self.planned {
            let result = self.results.remove(&planned.id);
            let result = result.or_else(|| self.provisional.remove(&planned.id));
            let result = result.unwrap_or_else(|| {
                unreached = true;
                not_reached(self.problem.as_deref())
            });
            let judged = judge(planned, result, self.running);
            report.scenarios.push(judged);
        }
        let verdicts: Vec<_> = report.scenarios.iter().map(|s| s.verdict).collect();
        report.verdict = verdict::kernel(&verdicts, self.vm.done);
        let kernel_error = self.kernel_errors.into_iter().next();
        if kernel_error.is_some() {
            report.verdict = KernelVerdict::NotOk;
        }
        let is_infra = report.verdict == KernelVerdict::Infra && !self.planned.is_empty();
        let all_skipped = || "no scenario could be judged: all were skipped".to_owned();
        report.error = kernel_error
            .or(self.problem.filter(|_| unreached || is_infra))
            .or_else(|| is_infra.then(all_skipped));
        report.warnings.append(&mut self.warnings);
        if self.more_warnings > 0 {
            let more = format!("the guest sent {} more warnings", self.more_warnings);
            report.warnings.push(more);
        }
    }

    /// What was wrong with the end of a VM, if anything.
    fn problem_of(&self, ending: &Ending) -> Option<String> {
        let running = self.running_names();
        let when = match (running.as_slice(), self.vm.ready, self.vm.done) {
            (_, false, _) => "before the guest reported that it runs".to_owned(),
            ([], _, true) => "after the last scenario".to_owned(),
            ([], ..) => match &self.vm.last {
                Some(last) => format!("between two scenarios, after {last}"),
                None => "between two scenarios".to_owned(),
            },
            (running, ..) => format!("while {} ran", running.join(", ")),
        };
        match ending {
            Ending::Done => self.unreported(),
            Ending::Broke(how) => Some(format!("{how}, {when}")),
            Ending::Panicked(message) => Some(format!("the kernel panicked {when}: {message}")),
            Ending::TimedOut(limit) => Some(format!("{limit}, {when}")),
            Ending::Infra(reason) => Some(reason.clone()),
        }
    }

    /// The problem that the guest was done without a result of every scenario.
    fn unreported(&self) -> Option<String> {
        let missing = self.planned.iter().map(|planned| planned.id.as_str());
        let missing: Vec<_> = missing
            .filter(|id| !self.results.contains_key(*id))
            .collect();
        let missing = missing.join(", ");
        (!missing.is_empty()).then(|| format!("the guest was done, but did not report {missing}"))
    }
}

/// The result of a scenario that ran when a VM ended.
fn interrupted(
    id: &str,
    running: &[String],
    ending: &Ending,
    console: &ConsoleExcerpt,
) -> ScenarioResult {
    let (outcome, mut error) = ending.outcome();
    let others = running.iter().filter(|other| *other != id);
    let others: Vec<_> = others.map(String::as_str).collect();
    if !others.is_empty() {
        error = format!("{error} (in parallel with {})", others.join(", "));
    }
    if matches!(ending, Ending::Infra(_)) {
        return ScenarioResult::new(outcome, Some(error));
    }
    ScenarioResult {
        splat: console.splats.clone(),
        ..ScenarioResult::new(outcome, Some(console.append_to(error)))
    }
}

/// The scenarios of a kernel that was not run.
pub fn none_reached(
    planned: &[Scenario],
    running: Option<Running>,
    why: &str,
) -> Vec<ScenarioReport> {
    planned
        .iter()
        .map(|planned| judge(planned, not_reached(Some(why)), running))
        .collect()
}

fn not_reached(why: Option<&str>) -> ScenarioResult {
    let why = why.unwrap_or("the guest did not report it");
    ScenarioResult::new(Outcome::Skipped, Some(format!("not reached: {why}")))
}

#[cfg(test)]
mod tests;
