//! Full runs on real kernels, and guests with deliberate faults.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use crate::support::{harness, report_file, run, scenarios, with_file_size_limit};
use protocol::job::LOG_MARK;

/// Runs scenarios on 5.10 and returns the exit status and the report.
fn on_5_10(ids: &str, more: &[&str]) -> (i32, serde_json::Value) {
    let ran = run(harness(&["--kernel", "5.10", "--scenario", ids]).args(more));
    (ran.status, ran.report())
}

fn text<'a>(value: &'a serde_json::Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(|value| value.as_str())
        .unwrap_or_default()
}

#[test]
fn oldest_and_newest_kernels_pass_every_scenario_and_the_report_is_complete() {
    let ran = run(&mut harness(&["--kernel", "5.10,6.1,6.12,7.3"]));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let report = ran.report();
    assert_eq!(report["verdict"], "ok");
    let listed = run(&mut harness(&["--list"])).stdout;
    let listed: Vec<_> = listed
        .lines()
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(listed.len() > 10, "{listed:?}");
    // Debian built the older two without FUNCTION_ERROR_INJECTION: `sleepable` has no target there. Their BTF lists no
    // function that the compiler changed. In 5.10, the functions of two scenarios have fewer arguments.
    let fewer = [
        "changed_function_in_btf",
        "eleven_arguments",
        "sleepable",
        "twelve_arguments",
    ];
    let kernels = [
        ("5.10", &fewer[..], true),
        ("6.1", &["changed_function_in_btf", "sleepable"], true),
        ("6.12", &[], true),
        ("7.3", &[], false),
    ];
    for (number, (series, skips, refuses)) in kernels.into_iter().enumerate() {
        let kernel = &report["kernels"][number];
        assert_eq!(kernel["requested"], series);
        assert!(
            text(kernel, "/release").starts_with(&format!("{series}.")),
            "{kernel}"
        );
        assert!(
            text(kernel, "/version").starts_with(&format!("{series}.")),
            "{kernel}"
        );
        assert_eq!(
            text(kernel, "/source/artifacts/0/sha256").len(),
            64,
            "{kernel}"
        );
        assert!(
            text(kernel, "/command_line").contains("console=ttyS0"),
            "{kernel}"
        );
        if kernel["accelerator"] == "tcg" {
            let command = text(kernel, "/qemu_command");
            assert!(command.contains("/vmlinux/"), "{command}");
        }
        for phase in ["resolve", "fetch", "image", "boot", "scenarios", "total"] {
            assert!(
                kernel["phases_ms"][phase].is_u64(),
                "no {phase} in {}",
                kernel["phases_ms"]
            );
        }
        let ran = scenarios(&report, number);
        assert_eq!(
            ran.iter().map(|[id, ..]| id.as_str()).collect::<Vec<_>>(),
            listed
        );
        assert!(
            ran.iter().any(|[_, outcome, _]| outcome == "passed"),
            "{ran:?}"
        );
        assert_eq!(
            ran.iter().any(|[_, outcome, _]| outcome == "unsupported"),
            refuses,
            "{ran:?}"
        );
        for (at, [id, outcome, verdict]) in ran.iter().enumerate() {
            let reason = text(kernel, &format!("/scenarios/{at}/error"));
            let excused = outcome == "skipped"
                && skips.contains(&id.as_str())
                && !reason.starts_with("not reached");
            assert!(verdict == "ok" || excused, "{id} {outcome}: {reason}");
        }
    }
}

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
fn lockdown_is_named_as_the_reason() {
    let kernels = "5.10,6.12,7.3";
    let ran = run(&mut harness(&[
        "--kernel",
        kernels,
        "--scenario",
        "selftest_lockdown",
    ]));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    for number in 0..3 {
        let [[_, outcome, _]] = &scenarios(&ran.report(), number)[..] else {
            panic!("one scenario was asked for")
        };
        assert_eq!(outcome, "passed");
    }
}

#[test]
fn all_scenarios_skipped_exits_3() {
    let (status, report) = on_5_10("selftest_skip", &[]);
    assert_eq!((status, &report["verdict"]), (3, &"infra".into()));
    assert!(text(&report, "/kernels/0/error").contains("all were skipped"));
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

/// The three scenarios of a run: the first one in the list, the self-test, the other one. The order is that of the
/// guest's list, where self-tests may be anywhere.
fn in_order(report: &serde_json::Value) -> [[String; 3]; 3] {
    scenarios(report, 0).try_into().unwrap()
}

#[test]
fn failures_of_the_baseline_do_not_fail_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let baseline = dir.path().join("baseline.json");
    let path = baseline.to_str().unwrap();
    let args = ["--kernel", "5.10", "--scenario", "attach,selftest_exit"];
    let ran = run(harness(&args).args(["--output", path]));
    assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{}", ran.stderr);
    assert_eq!(report_file(&baseline)["verdict"], "not-ok");

    let ran = run(harness(&args).args(["--baseline", path]));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert_eq!(ran.report()["verdict"], "not-ok");
    ran.says(&["against the baseline:\nno change"]);
}

#[test]
fn kept_command_reproduces_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let keep = dir.path().join("kept");
    let (status, report) = on_5_10(
        "attach",
        &["--keep", keep.to_str().unwrap(), "--accel", "tcg"],
    );
    assert_eq!(status, 0);
    let kept = keep.join("5.10");
    let script = std::fs::read_to_string(kept.join("run.sh")).unwrap();
    assert!(
        script.contains(text(&report, "/kernels/0/qemu_command")),
        "{script}"
    );
    for file in ["console.log", "initramfs.cpio", "events.jsonl"] {
        assert!(kept.join(file).exists(), "no {file}");
    }
    let events = by_hand(&kept.join("run.sh"));
    assert!(
        events.lines().last().unwrap().contains(r#""event":"done""#),
        "{events}"
    );
}

/// Runs a kept script; the events come on stderr.
fn by_hand(script: &Path) -> String {
    let output = std::process::Command::new(script).output().unwrap();
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn kernel_image_runs_under_its_own_name() {
    let (_, report) = on_5_10("selftest_skip", &[]);
    let command = text(&report, "/kernels/0/qemu_command");
    let image = command
        .split_whitespace()
        .skip_while(|word| *word != "-kernel")
        .nth(1)
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let keep = dir.path().join("kept");
    let args = [
        "--kernel-image",
        image,
        "--scenario",
        "attach",
        "--keep",
        keep.to_str().unwrap(),
    ];
    let ran = run(&mut harness(&args));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let report = ran.report();
    assert_eq!(text(&report, "/kernels/0/requested"), image);
    assert_eq!(text(&report, "/kernels/0/source/kind"), "local");
    assert!(text(&report, "/kernels/0/release").starts_with("5.10."));
    let kept: Vec<_> = std::fs::read_dir(&keep).unwrap().collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
}

#[test]
fn full_disk_is_infra_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["--kernel", "5.10", "--scenario", "attach", "--keep"];
    let ran = run(with_file_size_limit(&args, 512).arg(dir.path()));
    assert_eq!(ran.status, 3, "{}", ran.stderr);
    let report = ran.report();
    assert_eq!(report["verdict"], "infra");
    let error = text(&report, "/kernels/0/error");
    assert!(
        error.contains("initramfs.cpio") && error.contains("File too large"),
        "{error}"
    );
    assert_eq!(scenarios(&report, 0)[0], ["attach", "skipped", "unknown"]);
}

#[test]
fn temporarily_full_disk_is_named_and_the_run_retried() {
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("5.10");
    std::fs::create_dir(&kept).unwrap();
    std::os::unix::fs::symlink("/dev/full", kept.join("events.jsonl")).unwrap();
    let (status, report) = on_5_10("attach", &["--keep", dir.path().to_str().unwrap()]);
    assert_eq!((status, &report["kernels"][0]["attempts"]), (0, &2.into()));
    let warning = text(&report, "/kernels/0/warnings/0");
    assert!(
        warning.contains("events.jsonl") && warning.contains("No space left"),
        "{warning}"
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
