//! From the guest's events and the ways that the VMs of one kernel ended to its part of the report.

mod judge;

use std::collections::{BTreeMap, BTreeSet};

use fexit::KernelVersion;
use protocol::{
    event::{Event, Outcome, ScenarioResult},
    scenario::Scenario,
};

use self::judge::judge;
use super::{KernelReport, KernelVerdict, ScenarioReport, verdict};

/// The guest may send this many warnings; what comes after them is counted only.
const WARNINGS: usize = 200;

/// How a VM came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The guest said that it was done.
    Done,
    /// The guest broke off or broke the rules, in this way.
    Broke(String),
    /// The kernel panicked, and said this.
    Panicked(String),
    /// A limit was reached or the kernel hung, and this says which and how.
    TimedOut(String),
    /// Nothing that the guest did: QEMU did not start or died, the disk is full, the user interrupted.
    Infra(String),
}

impl Ending {
    /// What it makes of whatever ran then.
    pub(super) fn outcome(&self) -> (Outcome, String) {
        match self {
            Self::Panicked(message) => {
                (Outcome::Panicked, format!("the kernel panicked: {message}"))
            }
            Self::TimedOut(limit) => (Outcome::TimedOut, limit.clone()),
            Self::Done => (
                Outcome::Failed,
                "the guest was done with it unfinished".to_owned(),
            ),
            Self::Broke(how) => (Outcome::Failed, how.clone()),
            Self::Infra(reason) => (Outcome::Skipped, format!("cut off: {reason}")),
        }
    }
}

/// What the console said while the last scenarios or the last program ran.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastWords {
    /// The kernel's reports.
    pub reports: Option<String>,
    /// The last lines, for when there is no report.
    pub tail: Vec<String>,
}

impl LastWords {
    /// An error with the console's words, unless its reports stand by themselves.
    pub(super) fn added_to(&self, error: String) -> String {
        if self.reports.is_some() || self.tail.is_empty() {
            return error;
        }
        format!(
            "{error}\nThe last lines of the console:\n{}",
            self.tail.join("\n")
        )
    }
}

/// What was reported of one kernel so far, in one VM or several.
#[derive(Debug)]
pub struct Observed {
    planned: Vec<Scenario>,
    version: Option<KernelVersion>,
    upstream: bool,
    side_by_side: bool,
    results: BTreeMap<String, ScenarioResult>,
    /// Of those that ran when a VM ended, each a suspect among several or cut off through no fault of the guest: what
    /// counts if they are not tried again.
    provisional: BTreeMap<String, ScenarioResult>,
    /// Those that have run in parallel, and of them those that went wrong there: that counts if they are not tried
    /// again.
    crowded: BTreeSet<String>,
    doubtful: BTreeSet<String>,
    /// Those that ran alone when a VM ended.
    guilty: BTreeSet<String>,
    /// Several ran when a VM ended, and how it did.
    unsolved: Vec<(Vec<String>, String)>,
    /// What is wrong with the kernel, and no scenario answers for.
    unowned: Vec<String>,
    warnings: Vec<String>,
    more_warnings: usize,
    vm: InVm,
    /// What was wrong with the way the last VM ended, if anything.
    problem: Option<String>,
}

/// What was reported of the VM that runs now.
#[derive(Debug, Default)]
struct InVm {
    /// Begun and not finished: several where they run in parallel.
    running: Vec<String>,
    program: Option<String>,
    /// The scenario that finished last.
    last: Option<String>,
    begun: bool,
    ready: bool,
    done: bool,
}

impl Observed {
    /// Nothing was reported yet of a kernel of that version.
    pub fn new(planned: &[Scenario], version: Option<KernelVersion>) -> Self {
        Self {
            planned: planned.to_vec(),
            version,
            upstream: false,
            side_by_side: false,
            results: BTreeMap::new(),
            provisional: BTreeMap::new(),
            crowded: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            guilty: BTreeSet::new(),
            unsolved: Vec::new(),
            unowned: Vec::new(),
            warnings: Vec::new(),
            more_warnings: 0,
            vm: InVm::default(),
            problem: None,
        }
    }

    /// Says that the kernel is an upstream release as it was published. Nobody carried anything back to it: that it has
    /// a feature below the claimed minimum proves the claim wrong.
    #[must_use]
    pub fn upstream(self, upstream: bool) -> Self {
        Self { upstream, ..self }
    }

    /// The scenarios that have no result yet, or one that only counts alone and that came from a parallel run.
    pub fn rest(&self) -> Vec<Scenario> {
        let open = |id: &String| !self.results.contains_key(id) || self.doubtful.contains(id);
        let rest = self.planned.iter().filter(|planned| open(&planned.id));
        rest.cloned().collect()
    }

    /// Another VM begins, with what is left.
    pub fn vm_started(&mut self) {
        self.vm = InVm::default();
    }

    /// Takes in one event. It is about what this VM was given: [`Observed::rest`] before it started.
    pub fn event(&mut self, event: &Event) {
        let vm = &mut self.vm;
        match event {
            Event::Ready { .. } => vm.ready = true,
            Event::Warning { message } => self.warn(message.clone()),
            Event::Started { scenario } => {
                vm.begun = true;
                if !vm.running.contains(scenario) {
                    vm.running.push(scenario.clone());
                }
                if vm.running.len() > 1 {
                    self.side_by_side = true;
                    self.crowded.extend(vm.running.iter().cloned());
                } else {
                    self.crowded.remove(scenario);
                }
            }
            Event::Finished { scenario, result } => {
                let ran = vm.running.contains(scenario);
                vm.running.retain(|running| running != scenario);
                vm.last = Some(scenario.clone());
                if ran && self.crowded.contains(scenario) && !result.is_well() {
                    self.doubtful.insert(scenario.clone());
                } else {
                    self.doubtful.remove(scenario);
                }
                let mut result = result.clone();
                result.backported &= !self.upstream;
                self.results.insert(scenario.clone(), result);
            }
            // Programs of the user's are observed elsewhere; here they only tell what ran when the VM ended.
            Event::ProgramStarted { program, .. } => {
                (vm.begun, vm.program) = (true, Some(program.clone()));
            }
            Event::ProgramFinished { .. } => vm.program = None,
            Event::Done { .. } => vm.done = true,
            // What follows from it depends on how the VM ends: it is decided by the observer of the VM.
            Event::CannotGoOn { .. } => {}
            other => self.warn(format!(
                "the guest sent an event that is not known: {other:?}"
            )),
        }
    }

    fn warn(&mut self, message: String) {
        if self.warnings.len() < WARNINGS {
            self.warnings.push(message);
        } else {
            self.more_warnings += 1;
        }
    }

    /// Whether it was reported: a scenario that failed in parallel is tried again alone.
    pub fn knows(&self, id: &str) -> bool {
        let known = |results: &BTreeMap<_, _>| results.contains_key(id);
        known(&self.results)
            || known(&self.provisional)
            || self.vm.running.iter().any(|running| running == id)
    }

    /// The scenarios that run now.
    pub fn running(&self) -> &[String] {
        &self.vm.running
    }

    /// All that runs now, in words.
    pub fn running_now(&self) -> Vec<String> {
        let program = self.vm.program.iter();
        let program = program.map(|program| format!("the program {program}"));
        self.vm.running.iter().cloned().chain(program).collect()
    }

    /// Whether this VM has come as far as to begin anything.
    pub fn has_begun(&self) -> bool {
        self.vm.begun
    }

    /// What was wrong with the way the last VM ended, if anything.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Says why no other VM follows, if the last one left something undone.
    pub fn no_more(&mut self, why: &str) {
        if let Some(problem) = &mut self.problem {
            problem.push_str("; ");
            problem.push_str(why);
        }
    }

    /// How a scenario went, as far as it is known.
    pub fn judged(&self, id: &str) -> Option<ScenarioReport> {
        let planned = self.planned.iter().find(|planned| planned.id == id)?;
        let result = self.results.get(id).or_else(|| self.provisional.get(id))?;
        Some(judge(planned, result.clone(), self.version))
    }

    /// A VM has ended. What ran alone answers for that; of several each is a suspect.
    pub fn vm_ended(&mut self, ending: &Ending, words: &LastWords) {
        self.problem = self.problem_of(ending);
        let running = std::mem::take(&mut self.vm.running);
        let blamed: Vec<_> = running
            .iter()
            .map(|id| (id.clone(), blamed(id, &running, ending, words)))
            .collect();
        let is_guests = self.vm.ready && !matches!(ending, Ending::Infra(_));
        match (&self.problem, running.as_slice()) {
            (None, []) => {}
            (_, [id]) if is_guests && !self.crowded.contains(id) => {
                self.guilty.insert(id.clone());
                self.doubtful.remove(id);
                self.results.extend(blamed);
            }
            (Some(problem), []) if is_guests => {
                // A program answers for itself.
                if self.vm.program.is_none() {
                    self.unowned.push(problem.clone());
                }
            }
            (problem, _) => {
                if is_guests {
                    let problem = problem.clone().unwrap_or_default();
                    self.unsolved.push((running, problem));
                }
                for (id, _) in &blamed {
                    self.results.remove(id);
                }
                self.provisional.extend(blamed);
            }
        }
    }

    /// Draws the conclusion: each scenario's outcome and verdict, the kernel's verdict, and what is wrong with it as a
    /// whole.
    pub fn conclude(mut self, report: &mut KernelReport) {
        for (suspects, problem) in std::mem::take(&mut self.unsolved) {
            let tried = suspects.iter().all(|id| self.results.contains_key(id));
            if tried && !suspects.iter().any(|id| self.guilty.contains(id)) {
                let alone = "it did not come back when each of them ran alone";
                self.unowned.push(format!("{problem}; {alone}"));
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
            let judged = judge(planned, result, self.version);
            report.scenarios.push(judged);
        }
        report.verdict = verdict::kernel(&report.scenarios, self.vm.done);
        let unowned = self.unowned.into_iter().next();
        if unowned.is_some() {
            // What came of the guest's own work is never the infrastructure's fault.
            report.verdict = KernelVerdict::NotOk;
        }
        let is_infra = report.verdict == KernelVerdict::Infra && !self.planned.is_empty();
        let is_open = unreached || is_infra;
        let nothing_learned = || "no scenario could be judged: all were skipped".to_owned();
        let nothing_learned = is_infra.then(nothing_learned);
        report.error = unowned
            .or(self.problem.filter(|_| is_open))
            .or(nothing_learned);
        report.warnings.append(&mut self.warnings);
        if self.more_warnings > 0 {
            let more = self.more_warnings;
            report
                .warnings
                .push(format!("the guest sent {more} warnings more"));
        }
    }

    /// What was wrong with the way a VM ended, if anything.
    fn problem_of(&self, ending: &Ending) -> Option<String> {
        let running = self.running_now();
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
            Ending::Done => self.silent_about(),
            Ending::Broke(how) => Some(format!("{how}, {when}")),
            Ending::Panicked(message) => Some(format!("the kernel panicked {when}: {message}")),
            Ending::TimedOut(limit) => Some(format!("{limit}, {when}")),
            Ending::Infra(reason) => Some(reason.clone()),
        }
    }

    /// The guest said that it was done: did it speak of every scenario?
    fn silent_about(&self) -> Option<String> {
        let missing = self.planned.iter().map(|planned| planned.id.as_str());
        let missing: Vec<_> = missing
            .filter(|id| !self.results.contains_key(*id))
            .collect();
        (!missing.is_empty()).then(|| {
            format!(
                "the guest was done, yet never reported {}",
                missing.join(", ")
            )
        })
    }
}

/// The result of a scenario that ran when a VM ended, in parallel or alone.
fn blamed(id: &str, running: &[String], ending: &Ending, words: &LastWords) -> ScenarioResult {
    let (outcome, mut error) = ending.outcome();
    let others = running.iter().filter(|other| *other != id);
    let others: Vec<_> = others.map(String::as_str).collect();
    if !others.is_empty() {
        error = format!("{error} (in parallel with {})", others.join(", "));
    }
    if matches!(ending, Ending::Infra(_)) {
        return without_duration(outcome, error);
    }
    ScenarioResult {
        splat: words.reports.clone(),
        ..without_duration(outcome, words.added_to(error))
    }
}

/// The scenarios of a kernel that was not run, or not yet.
pub fn none_reached(
    planned: &[Scenario],
    version: Option<KernelVersion>,
    why: &str,
) -> Vec<ScenarioReport> {
    planned
        .iter()
        .map(|planned| judge(planned, not_reached(Some(why)), version))
        .collect()
}

fn not_reached(why: Option<&str>) -> ScenarioResult {
    let why = why.unwrap_or("the guest never reported it");
    without_duration(Outcome::Skipped, format!("not reached: {why}"))
}

fn without_duration(outcome: Outcome, error: String) -> ScenarioResult {
    ScenarioResult {
        outcome,
        duration_us: 0,
        error: Some(error),
        refusal: None,
        backported: false,
        measurements: BTreeMap::new(),
        splat: None,
    }
}

#[cfg(test)]
mod tests;
