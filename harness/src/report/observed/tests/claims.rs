//! Results compared with the claimed minimums.

use super::*;
use crate::report::verdict::{Expected, ScenarioVerdict};

/// A run on 5.10 in which `cookie`, whose minimum is 5.19, has the outcome, with `change` made to its result.
fn with_cookie(outcome: Outcome, change: impl FnOnce(&mut ScenarioResult)) -> ScenarioReport {
    let report = run(&[finished_as("cookie", outcome, change)], &Ending::Done);
    report.scenario("cookie").cloned().unwrap()
}

#[test]
fn outcome_on_the_wrong_side_of_the_minimum_is_not_ok() {
    let mut events = complete_run();
    events[2] = finished("attach", Outcome::Unsupported);
    events[4] = finished("cookie", Outcome::Passed);
    let report = run(&events, &Ending::Done);
    assert_eq!(report.count(ScenarioVerdict::NotOk), 2);
    for (scenario, error) in report.scenarios.iter().zip([
        "refused on 5.10.262, at or above",
        "passed on 5.10.262, below",
    ]) {
        let actual = scenario.error.as_deref().unwrap();
        assert!(actual.starts_with(error), "{actual}");
    }
}

#[test]
fn refusal_with_a_kernel_warning_is_not_ok() {
    let cookie = with_cookie(Outcome::Unsupported, |result| {
        result.splat = Some("WARNING: CPU: 0\nCall Trace:".into());
    });
    assert_eq!(cookie.verdict, ScenarioVerdict::NotOk);
    assert_eq!(
        cookie.error.as_deref(),
        Some("refused, but the kernel printed: WARNING: CPU: 0")
    );
}

#[test]
fn failure_without_a_reason_says_so() {
    let cookie = with_cookie(Outcome::Failed, |result| result.error = None);
    assert_eq!(cookie.error.as_deref(), Some("no reason was given"));
}

#[test]
fn backport_is_ok_on_a_distribution_kernel_only() {
    for (backported, upstream, verdict) in [
        (true, false, ScenarioVerdict::Ok),
        (true, true, ScenarioVerdict::NotOk),
        (false, false, ScenarioVerdict::NotOk),
    ] {
        let early = finished_as("cookie", Outcome::Passed, |result| {
            result.backported = backported;
        });
        let report = observe(on_5_10().upstream(upstream), &[early], &Ending::Done);
        let cookie = report.scenario("cookie").unwrap();
        let is_ok = verdict == ScenarioVerdict::Ok;
        assert_eq!((cookie.verdict, cookie.backported), (verdict, is_ok));
        assert_eq!(cookie.expected == Some(Expected::Passed), is_ok);
    }
}

#[test]
fn refusal_must_name_the_feature_of_the_scenario() {
    let own = with_cookie(Outcome::Unsupported, |_| {});
    assert_eq!(own.verdict, ScenarioVerdict::Ok);
    let other = with_cookie(Outcome::Unsupported, |result| {
        result.refusal = Some(refusal("fsession", "7.0"));
    });
    assert_eq!(other.verdict, ScenarioVerdict::NotOk);
    let error = other.error.unwrap();
    assert!(error.contains("fsession is missing"), "{error}");
}

#[test]
fn below_the_fexit_minimum_a_refusal_may_name_fexit() {
    for (version, verdict) in [
        ("5.4.273", ScenarioVerdict::Ok),
        ("5.10.262", ScenarioVerdict::NotOk),
    ] {
        let refused = finished_as("cookie", Outcome::Unsupported, |result| {
            result.refusal = Some(refusal("fexit", "5.5"));
        });
        let observed = Observed::new(&planned(), version.parse().ok());
        let report = observe(observed, &[refused], &Ending::Done);
        let cookie = report.scenario("cookie").unwrap();
        assert_eq!(cookie.verdict, verdict, "{version}");
    }
}

#[test]
fn scenario_without_a_feature_must_pass_on_every_kernel() {
    let planned = Scenario {
        id: "cookie".into(),
        ..Scenario::default()
    };
    for (outcome, verdict) in [
        (Outcome::Passed, ScenarioVerdict::Ok),
        (Outcome::Unsupported, ScenarioVerdict::NotOk),
    ] {
        let observed = Observed::new(std::slice::from_ref(&planned), "4.18.0".parse().ok());
        let report = observe(observed, &[finished("cookie", outcome)], &Ending::Done);
        let cookie = report.scenario("cookie").unwrap();
        assert_eq!((cookie.verdict, &cookie.minimum), (verdict, &None));
        assert_eq!(cookie.expected, Some(Expected::Passed));
    }
}
