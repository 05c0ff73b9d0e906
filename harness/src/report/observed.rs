//! From the guest's events and the way the VM ended to one kernel's part of the report.

use std::collections::BTreeMap;

use fexit::{Feature, KernelVersion};
use protocol::{
    event::{Event, Outcome, Refusal, ScenarioResult},
    scenario::Scenario,
};

use super::{Expected, KernelReport, KernelVerdict, ScenarioReport, ScenarioVerdict, verdict};

/// How a VM came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The guest said that it was done.
    Done,
    /// The guest broke off or broke the rules, in this way.
    Broke(String),
    /// The kernel panicked, and said this.
    Panicked(String),
    /// A limit was reached, and this says which.
    TimedOut(String),
    /// Nothing that the guest did: QEMU did not start or died, the disk is full, the user interrupted.
    Infra(String),
}

/// What was heard of one VM so far.
#[derive(Debug)]
pub struct Observed {
    planned: Vec<Scenario>,
    version: Option<KernelVersion>,
    upstream: bool,
    /// Begun and not finished: several where they run side by side.
    running: Vec<String>,
    side_by_side: bool,
    results: BTreeMap<String, ScenarioResult>,
    warnings: Vec<String>,
    ready: bool,
    done: bool,
}

impl Observed {
    /// Nothing was heard yet of a kernel of that version.
    pub fn new(planned: &[Scenario], version: Option<KernelVersion>) -> Self {
        Self {
            planned: planned.to_vec(),
            version,
            upstream: false,
            running: Vec::new(),
            side_by_side: false,
            results: BTreeMap::new(),
            warnings: Vec::new(),
            ready: false,
            done: false,
        }
    }

    /// Says that the kernel is an upstream release as it was published. Nobody carried anything back to it: that it has
    /// a feature below the claimed minimum proves the claim wrong.
    #[must_use]
    pub fn upstream(self, upstream: bool) -> Self {
        Self { upstream, ..self }
    }

    /// Takes in one event.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Ready { .. } => self.ready = true,
            Event::Warning { message } => self.warnings.push(message.clone()),
            Event::Started { scenario } => {
                if !self.running.contains(scenario) {
                    self.running.push(scenario.clone());
                }
                self.side_by_side |= self.running.len() > 1;
            }
            Event::Finished { scenario, result } => {
                self.running.retain(|running| running != scenario);
                let mut result = result.clone();
                result.backported &= !self.upstream;
                self.results.insert(scenario.clone(), result);
            }
            // Programs of the user's are heard by another; here they only tell what ran when the VM ended.
            Event::ProgramStarted { program, .. } => {
                self.running.push(format!("the program {program}"));
            }
            // They run one after the other, and not beside scenarios.
            Event::ProgramFinished { .. } => self.running.clear(),
            Event::Done { .. } => self.done = true,
            // What follows from it depends on how the VM ends: it is heard by whoever watches that.
            Event::CannotGoOn { .. } => {}
            other => self.warnings.push(format!(
                "the guest sent an event that is not known: {other:?}"
            )),
        }
    }

    /// Whether it was heard of: a scenario that went wrong beside others is tried again alone.
    pub fn knows(&self, id: &str) -> bool {
        self.results.contains_key(id) || self.running.iter().any(|running| running == id)
    }

    /// The scenarios that run now.
    pub fn running(&self) -> &[String] {
        &self.running
    }

    /// How a scenario went that was heard to finish.
    pub fn judged(&self, id: &str) -> Option<ScenarioReport> {
        let planned = self.planned.iter().find(|planned| planned.id == id)?;
        Some(judge(planned, self.results.get(id)?.clone(), self.version))
    }

    /// Draws the conclusion: each scenario's outcome and verdict, the kernel's verdict, and why it ended early.
    pub fn conclude(mut self, ending: &Ending, report: &mut KernelReport) {
        let trouble = self.trouble(ending);
        self.blame_the_running(ending);
        report.side_by_side = self.side_by_side;
        report.scenarios = self
            .planned
            .iter()
            .map(|planned| {
                let unreached = || not_reached(trouble.as_deref());
                let result = self.results.remove(&planned.id).unwrap_or_else(unreached);
                judge(planned, result, self.version)
            })
            .collect();
        report.verdict = verdict::kernel(&report.scenarios, self.done);
        if trouble.is_some() && self.ready && !matches!(ending, Ending::Infra(_)) {
            // What came of the guest's own work is never the infrastructure's fault.
            report.verdict = KernelVerdict::NotOk;
        }
        let nothing_learned = || "no scenario could be judged: all were skipped".to_owned();
        report.error =
            trouble.or_else(|| (report.verdict == KernelVerdict::Infra).then(nothing_learned));
        report.warnings.append(&mut self.warnings);
    }

    /// What was wrong with the way it ended, if anything.
    fn trouble(&self, ending: &Ending) -> Option<String> {
        let when = match (self.running.as_slice(), self.ready, self.done) {
            (_, false, _) => "before the guest reported that it runs".to_owned(),
            ([], _, true) => "after the last scenario".to_owned(),
            ([], ..) => "between two scenarios".to_owned(),
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
        let missing: Vec<_> = self
            .planned
            .iter()
            .map(|planned| planned.id.as_str())
            .filter(|id| !self.results.contains_key(*id))
            .collect();
        (!missing.is_empty()).then(|| {
            format!(
                "the guest was done, yet never reported {}",
                missing.join(", ")
            )
        })
    }

    /// The scenarios that ran when the VM ended are the first suspects, each as much as the others.
    fn blame_the_running(&mut self, ending: &Ending) {
        let running = std::mem::take(&mut self.running);
        for id in &running {
            let (outcome, error) = match ending {
                Ending::Panicked(message) => {
                    (Outcome::Panicked, format!("the kernel panicked: {message}"))
                }
                Ending::TimedOut(limit) => (Outcome::TimedOut, limit.clone()),
                Ending::Done => (
                    Outcome::Failed,
                    "the guest was done with it unfinished".to_owned(),
                ),
                Ending::Broke(how) => (Outcome::Failed, how.clone()),
                Ending::Infra(reason) => (Outcome::Skipped, format!("cut off: {reason}")),
            };
            let others: Vec<_> = running
                .iter()
                .filter(|other| *other != id)
                .cloned()
                .collect();
            let error = if others.is_empty() {
                error
            } else {
                format!("{error} (beside it ran {})", others.join(", "))
            };
            self.results
                .insert(id.clone(), without_duration(outcome, error));
        }
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

fn judge(
    planned: &Scenario,
    result: ScenarioResult,
    running: Option<KernelVersion>,
) -> ScenarioReport {
    let minimum = planned.minimum;
    let minimum = minimum.map(|(major, minor)| KernelVersion::new(major, minor, 0));
    let expected = running.map(|running| {
        if result.backported {
            Expected::Passed
        } else {
            verdict::expected(minimum, running)
        }
    });
    let flaw = running.and_then(|running| flaw(planned, expected?, &result, running));
    let verdict = match flaw {
        Some(_) => ScenarioVerdict::NotOk,
        None => verdict::scenario(expected, result.outcome),
    };
    let unexplained = || (verdict != ScenarioVerdict::Ok).then(|| "no reason was given".to_owned());
    ScenarioReport {
        id: planned.id.clone(),
        feature: planned.feature.clone(),
        minimum: minimum.map(|minimum| minimum.to_string()),
        expected,
        outcome: result.outcome,
        verdict,
        duration_us: (result.duration_us > 0).then_some(result.duration_us),
        error: flaw.or(result.error).or_else(unexplained),
        refusal: result.refusal,
        backported: result.backported,
        splat: result.splat,
        measurements: result.measurements,
    }
}

/// A scenario can end as it should and still not be ok: it proves a claim wrong, its own or the library's, or the
/// kernel complained.
fn flaw(
    planned: &Scenario,
    expected: Expected,
    result: &ScenarioResult,
    running: KernelVersion,
) -> Option<String> {
    let reason = result.error.as_deref().unwrap_or("no reason was given");
    match (result.outcome, expected) {
        (Outcome::Passed, Expected::Unsupported) => Some(format!(
            "passed on {running}, below its claimed minimum: the claim is wrong"
        )),
        (Outcome::Unsupported, Expected::Passed) => Some(format!(
            "refused on {running}, at or above its claimed minimum: {reason}"
        )),
        (Outcome::Unsupported, Expected::Unsupported) => {
            let splat = result
                .splat
                .as_deref()
                .and_then(|splat| splat.lines().next());
            splat
                .map(|line| format!("refused, but the kernel printed: {line}"))
                .or_else(|| verdict::flaw_of_refusal(result.refusal.as_ref(), running))
                .or_else(|| another_feature(planned, result.refusal.as_ref()?))
        }
        _ => None,
    }
}

/// A refusal that names another feature than the scenario is about proves nothing about that; but where there is no
/// fexit, there is nothing of it.
fn another_feature(planned: &Scenario, refusal: &Refusal) -> Option<String> {
    let own = planned.feature.as_deref()?;
    (![own, Feature::Fexit.name()].contains(&&*refusal.feature)).then(|| {
        format!(
            "refused for want of {}, before it came to {own}",
            refusal.feature
        )
    })
}

#[cfg(test)]
mod tests;
