//! From the guest's events and the way the VM ended to one kernel's part of the report.

use std::collections::BTreeMap;

use fexit::KernelVersion;
use guest::{
    event::{Event, Outcome, ScenarioResult},
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
    planned: Vec<&'static Scenario>,
    version: Option<KernelVersion>,
    running: Option<String>,
    results: BTreeMap<String, ScenarioResult>,
    warnings: Vec<String>,
    ready: bool,
    done: bool,
}

impl Observed {
    /// Nothing was heard yet of a kernel of that version.
    pub fn new(planned: &[&'static Scenario], version: Option<KernelVersion>) -> Self {
        Self {
            planned: planned.to_vec(),
            version,
            running: None,
            results: BTreeMap::new(),
            warnings: Vec::new(),
            ready: false,
            done: false,
        }
    }

    /// Takes in one event.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Ready { .. } => self.ready = true,
            Event::Warning { message } => self.warnings.push(message.clone()),
            Event::Started { scenario } => self.running = Some(scenario.clone()),
            Event::Finished { scenario, result } => {
                self.running = None;
                self.results.insert(scenario.clone(), result.clone());
            }
            Event::Done { .. } => self.done = true,
            other => self.warnings.push(format!(
                "the guest sent an event that is not known: {other:?}"
            )),
        }
    }

    /// The scenario that runs now.
    pub fn running(&self) -> Option<&str> {
        self.running.as_deref()
    }

    /// How a scenario went that was heard to finish.
    pub fn judged(&self, id: &str) -> Option<ScenarioReport> {
        let planned = self.planned.iter().find(|planned| planned.id == id)?;
        Some(judge(planned, self.results.get(id)?.clone(), self.version))
    }

    /// Draws the conclusion: each scenario's outcome and verdict, the kernel's verdict, and why it ended early.
    pub fn conclude(mut self, ending: &Ending, report: &mut KernelReport) {
        let trouble = self.trouble(ending);
        self.blame_the_running_one(ending);
        report.scenarios = self
            .planned
            .iter()
            .map(|planned| {
                let unreached = || not_reached(trouble.as_deref());
                let result = self.results.remove(planned.id).unwrap_or_else(unreached);
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
        let when = match (&self.running, self.ready, self.done) {
            (_, false, _) => "before the guest reported that it runs".to_owned(),
            (Some(id), ..) => format!("while {id} ran"),
            (None, _, true) => "after the last scenario".to_owned(),
            (None, ..) => "between two scenarios".to_owned(),
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
            .map(|planned| planned.id)
            .filter(|id| !self.results.contains_key(*id))
            .collect();
        (!missing.is_empty()).then(|| {
            format!(
                "the guest was done, yet never reported {}",
                missing.join(", ")
            )
        })
    }

    /// The scenario that ran when the VM ended is the first suspect.
    fn blame_the_running_one(&mut self, ending: &Ending) {
        let Some(id) = self.running.take() else {
            return;
        };
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
        self.results.insert(id, without_duration(outcome, error));
    }
}

/// The scenarios of a kernel that was not run, or not yet.
pub fn none_reached(
    planned: &[&'static Scenario],
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
        measurements: BTreeMap::new(),
        splat: None,
    }
}

fn judge(
    planned: &Scenario,
    result: ScenarioResult,
    running: Option<KernelVersion>,
) -> ScenarioReport {
    let minimum = planned.feature.minimum();
    let expected = running.map(|running| verdict::expected(minimum, running));
    let flaw = running.and_then(|running| flaw(expected?, &result, running));
    let verdict = match flaw {
        Some(_) => ScenarioVerdict::NotOk,
        None => verdict::scenario(expected, result.outcome),
    };
    let unexplained = || (verdict != ScenarioVerdict::Ok).then(|| "no reason was given".to_owned());
    ScenarioReport {
        id: planned.id.to_owned(),
        feature: planned.feature.name().to_owned(),
        minimum: minimum.to_string(),
        expected,
        outcome: result.outcome,
        verdict,
        duration_us: (result.duration_us > 0).then_some(result.duration_us),
        error: flaw.or(result.error).or_else(unexplained),
        refusal: result.refusal,
        splat: result.splat,
        measurements: result.measurements,
    }
}

/// A scenario can end as it should and still not be ok: it proves a claim wrong, its own or the library's, or the
/// kernel complained.
fn flaw(expected: Expected, result: &ScenarioResult, running: KernelVersion) -> Option<String> {
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
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fexit::Feature;
    use guest::event::Refusal;

    const fn planned(id: &'static str, feature: Feature) -> Scenario {
        Scenario::new(id, "", feature, |_| Ok(()))
    }

    const ATTACH: Scenario = planned("attach", Feature::Fexit);
    const COOKIE: Scenario = planned("cookie", Feature::Cookie);
    const UNLOAD: Scenario = planned("unload", Feature::Fexit);
    const PLANNED: [&Scenario; 3] = [&ATTACH, &COOKIE, &UNLOAD];

    fn ready() -> Event {
        Event::Ready {
            release: "5.10.0-46-cloud-amd64".into(),
            uptime_us: 1,
        }
    }

    fn started(id: &str) -> Event {
        Event::Started {
            scenario: id.into(),
        }
    }

    fn finished(id: &str, outcome: Outcome) -> Event {
        let refusal = (outcome == Outcome::Unsupported).then(|| Refusal {
            feature: "cookie".into(),
            minimum: "5.19".into(),
        });
        let result = ScenarioResult {
            outcome,
            duration_us: 7,
            error: (outcome != Outcome::Passed).then(|| "why".to_owned()),
            refusal,
            measurements: BTreeMap::new(),
            splat: None,
        };
        Event::Finished {
            scenario: id.into(),
            result,
        }
    }

    fn run(events: &[Event], ending: &Ending) -> KernelReport {
        let mut report = KernelReport {
            version: Some("5.10.262".into()),
            ..Default::default()
        };
        let mut observed = Observed::new(&PLANNED, "5.10.262".parse().ok());
        events.iter().for_each(|event| observed.event(event));
        observed.conclude(ending, &mut report);
        assert_eq!(
            report.scenarios.len(),
            PLANNED.len(),
            "a scenario is missing"
        );
        report
    }

    fn outcomes(report: &KernelReport) -> Vec<Outcome> {
        report
            .scenarios
            .iter()
            .map(|scenario| scenario.outcome)
            .collect()
    }

    fn whole_run() -> Vec<Event> {
        vec![
            ready(),
            started("attach"),
            finished("attach", Outcome::Passed),
            started("cookie"),
            finished("cookie", Outcome::Unsupported),
            started("unload"),
            finished("unload", Outcome::Passed),
            Event::Done { scenarios: 3 },
        ]
    }

    #[test]
    fn a_whole_run_is_ok() {
        let report = run(&whole_run(), &Ending::Done);
        assert_eq!(
            outcomes(&report),
            [Outcome::Passed, Outcome::Unsupported, Outcome::Passed]
        );
        assert_eq!(
            (report.verdict, report.error.as_deref()),
            (KernelVerdict::Ok, None)
        );
        assert_eq!(report.scenarios[0].duration_us, Some(7));
    }

    #[test]
    fn a_run_cut_anywhere_is_never_ok_and_keeps_what_was_heard() {
        let endings = [
            Ending::Broke("the VM ended early".into()),
            Ending::Panicked("Attempted to kill init!".into()),
            Ending::TimedOut("longer than 9 s".into()),
            Ending::Infra("QEMU was killed".into()),
        ];
        let whole = whole_run();
        for ending in &endings {
            for heard in 0..whole.len() {
                let report = run(&whole[..heard], ending);
                let kept = outcomes(&report)
                    .iter()
                    .filter(|o| **o == Outcome::Passed)
                    .count();
                assert_eq!(kept, usize::from(heard >= 3) + usize::from(heard >= 7));
                assert!(report.error.is_some(), "{ending:?} after {heard}");
                let infra = heard == 0 || matches!(ending, Ending::Infra(_));
                let wanted = if infra {
                    KernelVerdict::Infra
                } else {
                    KernelVerdict::NotOk
                };
                assert_eq!(report.verdict, wanted, "{ending:?} after {heard}");
            }
        }
    }

    #[test]
    fn the_scenario_that_ran_at_the_end_is_blamed_and_later_ones_are_not_reached() {
        for (ending, outcome) in [
            (Ending::Broke("x".into()), Outcome::Failed),
            (Ending::Panicked("x".into()), Outcome::Panicked),
            (Ending::TimedOut("x".into()), Outcome::TimedOut),
            (Ending::Infra("x".into()), Outcome::Skipped),
        ] {
            let report = run(&whole_run()[..4], &ending); // cookie has started
            assert_eq!(
                outcomes(&report),
                [Outcome::Passed, outcome, Outcome::Skipped]
            );
            let verdicts: Vec<_> = report.scenarios.iter().map(|s| s.verdict).collect();
            let blamed = match ending {
                Ending::Infra(_) => ScenarioVerdict::Unknown,
                _ => ScenarioVerdict::NotOk,
            };
            assert_eq!(
                verdicts,
                [ScenarioVerdict::Ok, blamed, ScenarioVerdict::Unknown]
            );
            let last = report.scenarios[2].error.as_deref().unwrap();
            assert!(last.starts_with("not reached: "), "{last}");
        }
    }

    #[test]
    fn a_panic_after_done_is_not_ok() {
        let report = run(&whole_run(), &Ending::Panicked("late".into()));
        assert_eq!(report.verdict, KernelVerdict::NotOk);
        assert_eq!(
            report.error.as_deref(),
            Some("the kernel panicked after the last scenario: late")
        );
    }

    #[test]
    fn a_scenario_that_the_guest_forgot_is_not_taken_for_ok() {
        let mut events = whole_run();
        events.drain(3..5);
        let report = run(&events, &Ending::Done);
        assert_eq!(report.scenarios[1].outcome, Outcome::Skipped);
        assert_ne!(report.verdict, KernelVerdict::Ok);
        assert!(report.error.unwrap().contains("never reported cookie"));
    }

    #[test]
    fn wrong_claims_are_not_ok_and_say_so() {
        let mut events = whole_run();
        events[2] = finished("attach", Outcome::Unsupported);
        events[4] = finished("cookie", Outcome::Passed);
        let report = run(&events, &Ending::Done);
        let errors: Vec<_> = report
            .scenarios
            .iter()
            .map(|s| s.error.clone().unwrap_or_default())
            .collect();
        assert_eq!(report.count(ScenarioVerdict::NotOk), 2);
        assert!(
            errors[0].starts_with("refused on 5.10.262, at or above"),
            "{}",
            errors[0]
        );
        assert!(
            errors[1].starts_with("passed on 5.10.262, below"),
            "{}",
            errors[1]
        );
    }

    #[test]
    fn a_refusal_that_the_kernel_complained_of_is_not_ok() {
        let mut events = whole_run();
        let Event::Finished { result, .. } = &mut events[4] else {
            panic!("no result")
        };
        result.splat = Some("WARNING: CPU: 0\nCall Trace:".into());
        let report = run(&events, &Ending::Done);
        assert_eq!(report.scenarios[1].verdict, ScenarioVerdict::NotOk);
        let error = report.scenarios[1].error.as_deref();
        assert_eq!(
            error,
            Some("refused, but the kernel printed: WARNING: CPU: 0")
        );
        assert_eq!(report.verdict, KernelVerdict::NotOk);
    }

    #[test]
    fn whatever_is_not_ok_has_a_reason() {
        let mut events = whole_run();
        let mut broken = finished("attach", Outcome::Failed);
        let Event::Finished { result, .. } = &mut broken else {
            panic!("no result")
        };
        result.error = None;
        events[2] = broken;
        let report = run(&events, &Ending::Done);
        assert_eq!(
            report.scenarios[0].error.as_deref(),
            Some("no reason was given")
        );
    }

    #[test]
    fn all_skipped_teaches_nothing() {
        let mut events = vec![ready()];
        events.extend(PLANNED.iter().map(|p| finished(p.id, Outcome::Skipped)));
        events.push(Event::Done { scenarios: 3 });
        let report = run(&events, &Ending::Done);
        assert_eq!(report.verdict, KernelVerdict::Infra);
        assert!(report.error.unwrap().contains("all were skipped"));
    }

    #[test]
    fn a_kernel_that_was_never_run_lists_every_scenario_as_unknown() {
        let scenarios = none_reached(&PLANNED, None, "no network");
        assert_eq!(scenarios.len(), 3);
        assert!(
            scenarios
                .iter()
                .all(|s| s.verdict == ScenarioVerdict::Unknown)
        );
        assert_eq!(
            scenarios[0].error.as_deref(),
            Some("not reached: no network")
        );
    }
}
