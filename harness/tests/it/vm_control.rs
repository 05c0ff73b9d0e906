//! Parts of a run, and runs that are repeated: `--shard`, `--retries`, `--rerun-failed`, `--fail-fast`, `--repeat`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use serde_json::Value;

use crate::support::{harness, report_file, run, scenarios};

const TWO: [&str; 2] = ["--kernel", "5.10,6.1"];

/// Name, verdict, and results of each kernel.
fn kernels(report: &Value) -> Vec<(String, String, Vec<[String; 3]>)> {
    let all = report["kernels"].as_array().unwrap().iter().enumerate();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let one = |(at, kernel): (usize, &Value)| {
        let (name, verdict) = (text(&kernel["requested"]), text(&kernel["verdict"]));
        (name, verdict, scenarios(report, at))
    };
    all.map(one).collect()
}

#[test]
fn merged_shards_are_the_unsharded_run_and_a_missing_one_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).display().to_string();
    let args = [
        &TWO[..],
        &["--scenario", "attach,unload,cookie,attach_twice,func_ip"],
    ]
    .concat();
    let whole = run(&mut harness(&args));
    assert_eq!(whole.status, 0, "{}", whole.stderr);
    let shards = ["1/3", "2/3", "3/3"];
    let files: Vec<_> = shards
        .iter()
        .map(|shard| file(&shard.replace('/', "-")))
        .collect();
    for (shard, file) in shards.iter().zip(&files) {
        let ran = run(&mut harness(
            &[&args[..], &["--shard", shard, "--output", file]].concat(),
        ));
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        assert_eq!(report_file(Path::new(file))["shard"], *shard);
    }
    // 5.10, both, 6.1
    let boots = files
        .iter()
        .map(|file| kernels(&report_file(Path::new(file))).len());
    assert_eq!(boots.collect::<Vec<_>>(), [1, 2, 1]);

    let backwards = [&["report"][..], &[&files[2], &files[0], &files[1]]].concat();
    let merged = run(&mut harness(&backwards));
    assert_eq!(merged.status, 0, "{}", merged.stderr);
    let (merged, whole) = (merged.report(), whole.report());
    assert_eq!(kernels(&merged), kernels(&whole));
    assert_eq!(merged["minimums"], whole["minimums"]);
    assert_eq!(merged["shard"], Value::Null);

    let partly = run(&mut harness(&["report", &files[0], &files[2]]));
    assert_eq!(partly.status, 3, "{}", partly.stderr);
    let partly = partly.report();
    let lost = partly["kernels"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&lost["requested"], &lost["verdict"]),
        (&"shard 2/3".into(), &"infra".into())
    );
}

#[test]
fn retries_run_only_what_failed_and_keep_every_failure() {
    let dir = tempfile::tempdir().unwrap();
    let keep = dir.path().display().to_string();
    let ran = run(&mut harness(&[
        "--kernel",
        "6.1",
        "--scenario",
        "attach,selftest_fail",
        "--retries",
        "2",
        "--keep",
        &keep,
    ]));
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    ran.says(&["retry 1 of 2: selftest_fail", "retry 2 of 2: selftest_fail"]);
    let report = ran.report();
    let kernel = &report["kernels"][0];
    let results = scenarios(&report, 0);
    assert_eq!(results[0], ["attach", "passed", "ok"]);
    assert_eq!(results[1], ["selftest_fail", "failed", "not-ok"]);
    assert_eq!(kernel["attempts"], 3);
    let tries = kernel["earlier_tries"].as_array().unwrap();
    let tries: Vec<_> = tries.iter().map(|failed| &failed["id"]).collect();
    assert_eq!(tries, ["selftest_fail", "selftest_fail"]);
    assert_eq!(kernel["scenarios"][1]["flaky"], false);
    for folder in ["6.1", "6.1-attempt-1", "6.1-attempt-2"] {
        assert!(
            dir.path().join(folder).join("run.sh").exists(),
            "no {folder}"
        );
    }
    // The report of the kernel that is ok has nothing to retry.
    let ran = run(&mut harness(&[
        "--kernel",
        "6.1",
        "--scenario",
        "attach",
        "--retries",
        "2",
    ]));
    assert_eq!(ran.report()["kernels"][0]["attempts"], 1);
}

#[test]
fn rerun_boots_what_failed_marks_what_passes_as_flaky_and_keeps_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let text = |name: &str| path(name).display().to_string();
    let script = text("check.sh");
    let write = |body: &str| {
        fs::write(&script, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let (report, junit, markdown) = (text("report.json"), text("junit.xml"), text("page.md"));
    let outputs = [
        "--output",
        &report,
        "--junit",
        &junit,
        "--markdown",
        &markdown,
    ];
    let command = ["--command", &script];

    write(
        "read -r _ _ release _ < /proc/version; case $release in 6.1*) echo broken; exit 7;; esac",
    );
    let ran = run(&mut harness(&[&TWO[..], &command, &outputs].concat()));
    assert_eq!(ran.status, 1, "{}", ran.stderr);

    let again = [&["--rerun-failed", &report][..], &outputs].concat();
    let ran = run(&mut harness(&again));
    ran.one_error(2, &["--rerun-failed", &script, "give the options"]);

    write("exit 0");
    let ran = run(&mut harness(&[&again[..], &command].concat()));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(
        !ran.stderr.contains("5.10      ok       --command"),
        "{}",
        ran.stderr
    );
    ran.says(&["is flaky: it passed after 1 failed tries"]);
    let new = report_file(Path::new(&report));
    let [old, flaky] = [0, 1].map(|at| &new["kernels"][at]);
    assert_eq!(
        (&old["requested"], &old["attempts"]),
        (&"5.10".into(), &1.into())
    );
    assert_eq!(
        (&flaky["requested"], &flaky["attempts"]),
        (&"6.1".into(), &2.into())
    );
    let program = |kernel: &Value| kernel["programs"][0].clone();
    assert_eq!(program(old)["flaky"], false);
    assert_eq!(
        (&program(flaky)["flaky"], &program(flaky)["verdict"]),
        (&true.into(), &"ok".into())
    );
    let first = flaky["earlier_tries"][0]["error"].as_str().unwrap();
    assert!(first.contains('7'), "{first}");
    for (file, part) in [
        (&junit, "<flakyFailure"),
        (&markdown, "✅ flaky"),
        (&markdown, "flaky\n"),
    ] {
        let shown = fs::read_to_string(file).unwrap();
        assert!(shown.contains(part), "no {part} in {shown}");
    }

    // Nothing is left, and nothing is booted.
    let mut nothing = harness(&[&again[..], &command].concat());
    let ran = run(nothing.env("QEMU", "/bin/false-is-no-qemu"));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert_eq!(report_file(Path::new(&report)), new);
    let ran = run(&mut harness(
        &[&again[..], &command, &["--kernel", "7.3"]].concat(),
    ));
    ran.one_error(2, &["--rerun-failed", "7.3"]);
}

#[test]
fn fail_fast_stops_the_rest_and_is_no_interrupt() {
    let ran = run(&mut harness(
        &[
            &TWO[..],
            &[
                "--jobs",
                "1",
                "--serial",
                "--fail-fast",
                "--scenario",
                "selftest_fail,attach",
            ],
        ]
        .concat(),
    ));
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    let report = ran.report();
    assert_eq!(
        scenarios(&report, 0)[0],
        ["selftest_fail", "failed", "not-ok"]
    );
    let [first, second] = [0, 1].map(|at| &report["kernels"][at]);
    assert_eq!(
        (&first["verdict"], &second["verdict"]),
        (&"not-ok".into(), &"infra".into())
    );
    let why = second["error"].as_str().unwrap();
    assert_eq!(why, "stopped by --fail-fast: selftest_fail is not ok");
    assert_eq!(second["attempts"], 0);
}

#[test]
fn repetitions_run_in_vms_of_their_own() {
    let ran = run(&mut harness(&[
        "--kernel",
        "6.1",
        "--scenario",
        "attach",
        "--repeat",
        "2",
    ]));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let report = ran.report();
    let kernel = &report["kernels"][0];
    assert_eq!(kernel["attempts"], 2);
    let repetitions = kernel["repetitions"].as_array().unwrap();
    let verdicts: Vec<_> = repetitions.iter().map(|one| &one["verdict"]).collect();
    assert_eq!(verdicts, ["ok", "ok"]);
    assert_eq!(scenarios(&report, 0).len(), 1);
}

#[test]
fn shard_without_a_scenario_is_ok_and_boots_nothing() {
    let args = ["--kernel", "6.1", "--scenario", "attach", "--shard", "1/3"];
    let ran = run(harness(&args).env("QEMU", "/nowhere/qemu"));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let report = ran.report();
    assert_eq!(
        (&report["verdict"], &report["shard"]),
        (&"ok".into(), &"1/3".into())
    );
    assert_eq!(report["kernels"].as_array().unwrap().len(), 0);
}
