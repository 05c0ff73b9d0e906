//! Guests and kernels with deliberate faults: each costs one result, and the report says what happened.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use protocol::job::LOG_MARK;

use crate::support::{on_5_10, scenarios, text};

#[test]
fn kernel_panic_costs_one_result() {
    let (status, report) = on_5_10("attach,selftest_panic,unload", &[]);
    assert_eq!((status, &report["verdict"]), (1, &"not-ok".into()));
    let [before, broken, after] = in_order(&report);
    assert_eq!(before, ["attach", "passed", "ok"]);
    assert_eq!(broken, ["selftest_panic", "panicked", "not-ok"]);
    assert_eq!(after, ["unload", "passed", "ok"]);
    restarted(&report, &[("selftest_panic", "sysrq triggered crash")]);
    let splat = text(&report, "/kernels/0/scenarios/1/splat");
    assert!(splat.contains("Kernel panic - not syncing"), "{splat}");
    has_evidence(&report);
}

#[test]
fn hanging_scenario_is_killed_and_the_next_one_runs() {
    let (status, report) = on_5_10("attach,selftest_hang,unload", &[]);
    assert_eq!((status, &report["verdict"]), (1, &"not-ok".into()));
    let [before, broken, after] = in_order(&report);
    assert_eq!(before, ["attach", "passed", "ok"]);
    assert_eq!(broken, ["selftest_hang", "timed-out", "not-ok"]);
    assert_eq!(after, ["unload", "passed", "ok"]);
}

#[test]
fn every_fault_has_its_outcome_and_the_run_continues() {
    let faults = [
        ["selftest_fail", "failed", "not-ok"],
        ["selftest_skip", "skipped", "unknown"],
        ["selftest_rust_panic", "failed", "not-ok"],
        ["selftest_killed", "failed", "not-ok"],
        ["selftest_no_result", "failed", "not-ok"],
        ["selftest_flood", "failed", "not-ok"],
        ["selftest_log_flood", "failed", "not-ok"],
        ["selftest_orphan", "passed", "ok"],
        ["attach", "passed", "ok"],
        ["selftest_forge", "passed", "ok"],
    ];
    let (status, report) = on_5_10(&faults.map(|[id, ..]| id).join(","), &[]);
    assert_eq!((status, &report["verdict"]), (1, &"not-ok".into()));
    assert_eq!(
        scenarios(&report, 0),
        faults.map(|fault| fault.map(str::to_owned))
    );
    for (number, why) in [
        (0, "failed on purpose: the cause"),
        (1, "skipped on purpose"),
        (2, "panicked on purpose"),
        (3, "signal 9"),
        (4, "before it returned a result"),
        (5, "drowned"),
        (
            6,
            "it passed, but the kernel's log cannot be read, so a splat would go unseen: it was overwritten",
        ),
    ] {
        let error = text(&report, &format!("/kernels/0/scenarios/{number}/error"));
        assert!(error.contains(why), "no `{why}` in {error}");
    }
    assert_eq!(
        report["kernels"][0]["scenarios"][0]["measurements"]["answers"],
        42
    );
}

#[test]
fn unexplained_splat_on_the_console_is_not_ok() {
    let (status, report) = on_5_10("attach,selftest_complaint", &[]);
    assert_eq!((status, &report["verdict"]), (1, &"not-ok".into()));
    assert!(
        scenarios(&report, 0)
            .iter()
            .all(|[_, _, verdict]| verdict == "ok")
    );
    let error = text(&report, "/kernels/0/error");
    assert!(
        error.starts_with("the kernel warned: WARNING: CPU: 0"),
        "{error}"
    );
    let tail = report["kernels"][0]["console_tail"].as_array().unwrap();
    assert!(
        tail.iter()
            .any(|line| line.as_str().unwrap().contains("on purpose")),
        "{tail:?}"
    );
}

#[test]
fn kernel_warning_makes_its_scenario_a_splat() {
    let faults = [
        ["selftest_kernel_kills", "splat", "not-ok"],
        ["selftest_kernel_oopses", "failed", "not-ok"],
        ["attach", "passed", "ok"],
        ["selftest_kernel_warns", "splat", "not-ok"],
    ];
    let (status, report) = on_5_10(&faults.map(|[id, ..]| id).join(","), &[]);
    assert_eq!((status, &report["verdict"]), (1, &"not-ok".into()));
    assert_eq!(
        scenarios(&report, 0),
        faults.map(|fault| fault.map(str::to_owned))
    );
    for (number, complaint) in [
        (0, "invoked oom-killer"),
        (1, "invalid opcode: 0000 [#1]"),
        (3, "ftrace_verify_code"),
    ] {
        let splat = text(&report, &format!("/kernels/0/scenarios/{number}/splat"));
        let line = splat.lines().next().unwrap_or_default();
        assert!(line.contains(complaint), "no {complaint} in {splat}");
    }
    // A scenario has each splat.
    assert_eq!(report["kernels"][0]["error"], serde_json::Value::Null);
}

#[test]
fn hanging_guest_ends_at_the_idle_timeout() {
    let (status, report) = on_5_10(
        "attach,selftest_init_hang,unload",
        &["--idle-timeout", "30"],
    );
    assert_eq!((status, &report["verdict"]), (1, &"not-ok".into()));
    let [before, broken, after] = in_order(&report);
    assert_eq!(before, ["attach", "passed", "ok"]);
    assert_eq!(broken, ["selftest_init_hang", "timed-out", "not-ok"]);
    assert_eq!(after, ["unload", "passed", "ok"]);
    restarted(&report, &[("selftest_init_hang", "no output for 30 s")]);
    let error = text(&report, "/kernels/0/scenarios/1/error");
    assert!(error.contains("The last lines of the console:"), "{error}");
    has_evidence(&report);
}

#[test]
fn endless_guest_ends_at_the_vm_time_limit() {
    let (status, report) = on_5_10("attach,selftest_babble,unload", &["--timeout", "30"]);
    assert_eq!((status, &report["verdict"]), (1, &"not-ok".into()));
    let error = text(&report, "/kernels/0/error");
    assert!(error.contains("still running after 30 s"), "{error}");
    has_evidence(&report);
}

#[test]
fn early_exit_of_the_guest_is_no_success() {
    let (status, report) = on_5_10("attach,selftest_exit,unload", &[]);
    assert_eq!((status, &report["verdict"]), (1, &"not-ok".into()));
    let [before, broken, after] = in_order(&report);
    assert_eq!(before, ["attach", "passed", "ok"]);
    assert_eq!(broken, ["selftest_exit", "failed", "not-ok"]);
    assert_eq!(after, ["unload", "passed", "ok"]);
    has_evidence(&report);
}

#[test]
fn kernel_hang_or_console_flood_costs_one_result() {
    let ids = "attach,selftest_kernel_hangs,selftest_report_flood,unload";
    let (status, report) = on_5_10(ids, &[]);
    assert_eq!((status, &report["verdict"]), (1, &"not-ok".into()));
    let outcomes = scenarios(&report, 0);
    let outcomes: Vec<_> = outcomes.iter().map(|[_, outcome, _]| outcome).collect();
    assert_eq!(outcomes, ["passed", "timed-out", "timed-out", "passed"]);
    restarted(
        &report,
        &[
            ("selftest_kernel_hangs", "the kernel hung: "),
            ("selftest_report_flood", "prints only reports"),
        ],
    );
    let stalled = text(&report, "/kernels/0/scenarios/1/splat");
    assert!(
        stalled.contains("stall") || stalled.contains("soft lockup"),
        "{stalled}"
    );
}

#[test]
fn scenario_timeout_extends_the_limit() {
    let (_, report) = on_5_10("selftest_hang", &["--scenario-timeout", "3"]);
    let error = text(&report, "/kernels/0/scenarios/0/error");
    assert!(
        error.starts_with("still running at its time limit of 3s"),
        "{error}"
    );
}

/// The three scenarios of a run: the first one in the list, the self-test, the other one. The order is that of the
/// guest's list, where self-tests may be anywhere.
fn in_order(report: &serde_json::Value) -> [[String; 3]; 3] {
    scenarios(report, 0).try_into().unwrap()
}

/// The report has the end of the console and the command that repeats the run.
#[track_caller]
fn has_evidence(report: &serde_json::Value) {
    let kernel = &report["kernels"][0];
    let tail = kernel["console_tail"].as_array().unwrap();
    let says = |line: &serde_json::Value| line.as_str().unwrap().contains(LOG_MARK);
    assert!(tail.iter().any(says), "{tail:?}");
    let command = text(kernel, "/qemu_command");
    assert!(command.contains("-kernel"), "{command}");
}

/// The `restarts`: what ran when each VM ended, and the reason. Nothing else is wrong.
#[track_caller]
fn restarted(report: &serde_json::Value, expected: &[(&str, &str)]) {
    let kernel = &report["kernels"][0];
    let restarts = kernel["restarts"].as_array().unwrap();
    assert_eq!(restarts.len(), expected.len(), "{restarts:?}");
    for (restart, (running, reason)) in restarts.iter().zip(expected) {
        assert_eq!(restart["running"], serde_json::json!([running]));
        assert!(text(restart, "/reason").contains(reason), "{restart}");
    }
    assert_eq!(kernel["attempts"], expected.len() + 1);
    assert_eq!(kernel["error"], serde_json::Value::Null);
}
