//! Scenarios in parallel: failures are found and attributed to the right scenario.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::support::{harness, run, scenarios};
use serde_json::Value;

/// Runs scenarios on 5.10: the exit status, the report, and each scenario's outcome.
fn on_5_10(ids: &str, more: &[&str]) -> (i32, Value, Vec<[String; 2]>) {
    let ran = run(harness(&["--kernel", "5.10", "--scenario", ids]).args(more));
    let report = ran.report();
    let outcomes = scenarios(&report, 0).into_iter();
    let outcomes = outcomes.map(|[id, outcome, _]| [id, outcome]).collect();
    (ran.status, report, outcomes)
}

fn warns(report: &Value, text: &str) -> bool {
    let warnings = report["kernels"][0]["warnings"].as_array().unwrap();
    warnings
        .iter()
        .any(|warning| warning.as_str().unwrap().contains(text))
}

fn error(report: &Value, number: usize) -> &str {
    let scenario = &report["kernels"][0]["scenarios"][number];
    scenario["error"].as_str().unwrap_or_default()
}

#[test]
fn parallel_failure_is_retried_alone_and_a_leak_is_traced() {
    let ids = "selftest_wait,selftest_crowded,selftest_leak,unload";
    let (status, report, outcomes) = on_5_10(ids, &[]);
    assert_eq!(
        outcomes,
        [
            ["selftest_wait", "passed"],
            ["selftest_crowded", "passed"],
            ["selftest_leak", "failed"],
            ["unload", "passed"],
        ]
    );
    assert_eq!(status, 1);
    assert_eq!(report["kernels"][0]["side_by_side"], true);
    assert!(
        warns(&report, "scenario selftest_crowded failed in parallel"),
        "{report}"
    );
    assert!(error(&report, 2).contains("leaked: program"), "{report}");
}

#[test]
fn pin_of_a_parallel_failure_does_not_fail_the_retry() {
    let (status, report, outcomes) = on_5_10("selftest_wait,selftest_pin", &[]);
    assert_eq!(
        outcomes,
        [["selftest_wait", "passed"], ["selftest_pin", "passed"]]
    );
    assert_eq!(status, 0);
    assert!(warns(&report, "scenario selftest_pin failed in parallel"));
}

#[test]
fn unrepeatable_leak_is_blamed_on_all_parallel_scenarios() {
    let (status, report, outcomes) = on_5_10("attach,selftest_leak_once,ftrace_off", &[]);
    assert_eq!(
        outcomes,
        [
            ["attach", "failed"],
            ["selftest_leak_once", "failed"],
            ["ftrace_off", "passed"], // after them, serially
        ]
    );
    assert_eq!(status, 1);
    assert!(error(&report, 0).contains("leaked: program"), "{report}");
}

#[test]
fn panic_is_attributed_to_the_scenario_that_panics_serially() {
    let (status, report, outcomes) = on_5_10("selftest_wait,selftest_panic_beside,ftrace_off", &[]);
    assert_eq!(
        outcomes,
        [
            ["selftest_wait", "passed"],
            ["selftest_panic_beside", "panicked"],
            ["ftrace_off", "passed"],
        ]
    );
    assert_eq!(status, 1);
    let kernel = &report["kernels"][0];
    assert_eq!(kernel["error"], Value::Null);
    let running = |number: usize| {
        kernel["restarts"][number]["running"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(
        (kernel["attempts"].as_u64(), running(0), running(1)),
        (Some(3), 2, 1)
    );
}

#[test]
fn panic_that_does_not_recur_serially_is_an_error_of_the_kernel() {
    let ids = "selftest_wait,selftest_panic_crowded,ftrace_off";
    let (status, report, outcomes) = on_5_10(ids, &[]);
    assert!(
        outcomes.iter().all(|[_, outcome]| outcome == "passed"),
        "{outcomes:?}"
    );
    assert_eq!((status, &report["verdict"]), (1, &"not-ok".into()));
    let kernel = &report["kernels"][0];
    let why = kernel["error"].as_str().unwrap();
    assert!(
        why.starts_with("the kernel panicked while selftest_wait, selftest_panic_crowded ran")
            && why.contains("did not recur"),
        "{why}"
    );
}

#[test]
fn serial_scenarios_do_not_overlap() {
    let (status, report, outcomes) = on_5_10("selftest_wait,selftest_crowded", &["--serial"]);
    assert!(outcomes.iter().all(|[_, outcome]| outcome == "passed"));
    assert_eq!(status, 0);
    assert_eq!(report["kernels"][0]["side_by_side"], false);
    assert!(!warns(&report, "alone"), "{report}");
}
