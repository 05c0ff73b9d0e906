//! Shared by the tests of [`Observed`]: three scenarios on 5.10, and the events of their runs.

mod claims;
mod crashes;
mod endings;

use protocol::event::Refusal;

use super::*;
use crate::report::{Tree, testing};

fn planned() -> [Scenario; 3] {
    [
        testing::planned("attach", "fexit", (5, 5)),
        testing::planned("cookie", "cookie", (5, 19)),
        testing::planned("unload", "fexit", (5, 5)),
    ]
}

fn on_5_10() -> Observed {
    on("5.10.262", Tree::Mainline)
}

fn on(version: &str, tree: Tree) -> Observed {
    let version = version.parse().unwrap();
    Observed::new(
        &planned(),
        Some(Running {
            tree,
            ..Running::mainline(version)
        }),
    )
}

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

fn refusal(feature: &str, minimum: &str) -> Refusal {
    Refusal {
        feature: feature.into(),
        minimum: Some(minimum.into()),
    }
}

fn finished(id: &str, outcome: Outcome) -> Event {
    finished_as(id, outcome, |_| {})
}

/// A scenario has finished, with `change` made to its result.
fn finished_as(id: &str, outcome: Outcome, change: impl FnOnce(&mut ScenarioResult)) -> Event {
    let error = (outcome != Outcome::Passed).then(|| "why".to_owned());
    let mut result = ScenarioResult::new(outcome, error);
    result.duration_us = 7;
    result.refusal = (outcome == Outcome::Unsupported).then(|| refusal("cookie", "5.19"));
    change(&mut result);
    Event::Finished {
        scenario: id.into(),
        result,
    }
}

/// The report after a VM that sent these events and ended so.
fn observe(mut observed: Observed, events: &[Event], ending: &Ending) -> KernelReport {
    let mut report = KernelReport::default();
    let planned = observed.planned.len();
    events.iter().for_each(|event| observed.event(event));
    observed.vm_ended(ending, &ConsoleExcerpt::default());
    observed.conclude(&mut report);
    assert_eq!(report.scenarios.len(), planned, "a scenario is missing");
    report
}

fn run(events: &[Event], ending: &Ending) -> KernelReport {
    observe(on_5_10(), events, ending)
}

fn outcomes(report: &KernelReport) -> Vec<Outcome> {
    let scenarios = report.scenarios.iter();
    scenarios.map(|scenario| scenario.outcome).collect()
}

fn complete_run() -> Vec<Event> {
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
