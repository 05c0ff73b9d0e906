//! Full runs on real kernels: the report, what `--keep` keeps, a kernel image, a baseline, a full disk.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use crate::support::{harness, on_5_10, report_file, run, scenarios, text, with_file_size_limit};

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
