//! The commands that work on reports already written.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use crate::support::{Ran, harness, report_file, run, scenarios};
use harness::report::{
    KernelReport, Report, Running,
    file::json,
    observed::{
        Observed,
        ending::{ConsoleExcerpt, Ending},
    },
};
use protocol::{
    event::{Event, Outcome, ScenarioResult},
    scenario::Scenario,
};

fn planned() -> [Scenario; 2] {
    ["attach", "detach"].map(|id| Scenario {
        id: id.into(),
        feature: Some("fexit".into()),
        minimum: Some((5, 5)),
        ..Scenario::default()
    })
}

/// A report on one kernel, made as a run makes it.
fn write(dir: &Path, name: &str, kernel: &str, outcomes: [Outcome; 2]) -> PathBuf {
    let version = format!("{kernel}.1");
    let running = Running::mainline(version.parse().unwrap());
    let mut observed = Observed::new(&planned(), Some(running));
    observed.event(&Event::Ready {
        release: version.clone(),
        uptime_us: 1,
    });
    for (planned, outcome) in planned().iter().zip(outcomes) {
        let error = (outcome != Outcome::Passed).then(|| "it did not fire".to_owned());
        let result = ScenarioResult::new(outcome, error);
        observed.event(&Event::Finished {
            scenario: planned.id.to_owned(),
            result,
        });
    }
    observed.event(&Event::Done { scenarios: 2 });
    let mut report = KernelReport {
        requested: kernel.to_owned(),
        release: Some(version.clone()),
        version: Some(version),
        ..KernelReport::default()
    };
    observed.vm_ended(&Ending::Done, &ConsoleExcerpt::default());
    observed.conclude(&mut report);
    let path = dir.join(name);
    fs::write(&path, json(&Report::new(vec![report])).unwrap()).unwrap();
    path
}

fn compare(old: &Path, new: &Path) -> Ran {
    run(&mut harness(&[
        "compare",
        old.to_str().unwrap(),
        new.to_str().unwrap(),
    ]))
}

#[test]
fn compare_names_regressions_and_exits_1() {
    use Outcome::{Failed, Passed, Skipped};
    let dir = tempfile::tempdir().unwrap();
    let good = write(dir.path(), "good.json", "5.10", [Passed, Passed]);
    let bad = write(dir.path(), "bad.json", "5.10", [Passed, Failed]);
    let blind = write(dir.path(), "blind.json", "5.10", [Passed, Skipped]);
    for (old, new, status, said) in [
        (&good, &good, 0, "no change\n"),
        (
            &good,
            &bad,
            1,
            "regressed:\n  detach on 5.10: passed -> failed (it did not fire)\n",
        ),
        (
            &bad,
            &good,
            0,
            "fixed:\n  detach on 5.10: failed -> passed\n",
        ),
        (&bad, &bad, 0, "no change\n"),
        (
            &good,
            &blind,
            3,
            "no longer judged:\n  detach on 5.10: passed -> skipped (it did not fire)\n",
        ),
    ] {
        let ran = compare(old, new);
        assert_eq!(
            (ran.status, ran.stdout.as_str()),
            (status, said),
            "{old:?} {new:?}"
        );
    }
}

#[test]
fn reports_of_several_jobs_merge_into_every_format() {
    use Outcome::{Failed, Passed};
    let dir = tempfile::tempdir().unwrap();
    let old = write(dir.path(), "old.json", "5.10", [Passed, Failed]);
    let one = write(dir.path(), "one.json", "5.10", [Passed, Passed]);
    let two = write(dir.path(), "two.json", "6.1", [Passed, Failed]);
    let place = |name: &str| dir.path().join(name).display().to_string();
    let (output, junit, markdown) = (place("all.json"), place("all.xml"), place("all.md"));
    let summary = place("summary.md");
    let mut command = harness(&["report"]);
    command.args([&old, &one, &two]);
    command.args([
        "-o",
        &output,
        "--junit",
        &junit,
        "--markdown",
        &markdown,
        "--summary",
    ]);
    command
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_STEP_SUMMARY", &summary);
    let ran = run(&mut command);

    assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{}", ran.stderr);
    let report = report_file(Path::new(&output));
    assert_eq!(report["kernels"].as_array().unwrap().len(), 2);
    assert_eq!(
        scenarios(&report, 0)[1],
        ["detach", "failed", "not-ok"],
        "the worse result counts"
    );
    let other = &report["kernels"][0]["other_results"][1];
    assert_eq!(
        (&other["id"], &other["outcome"]),
        (&"detach".into(), &"passed".into())
    );
    assert_eq!(scenarios(&report, 1)[1], ["detach", "failed", "not-ok"]);
    assert_eq!(report["minimums"][0]["passed_from"], "5.10");
    let xml = fs::read_to_string(&junit).unwrap();
    for part in [
        r#"<failure message="it did not fire""#,
        "<system-out>another report has passed</system-out>",
    ] {
        assert!(xml.contains(part), "no {part} in {xml}");
    }
    let page = fs::read_to_string(&markdown).unwrap();
    assert!(
        page.contains("| detach | 5.5 | ❌ failed | ❌ failed |"),
        "{page}"
    );
    assert!(
        page.contains("- **5.10**, `detach`: another report has passed"),
        "{page}"
    );
    assert_eq!(fs::read_to_string(&summary).unwrap(), page);
    assert_eq!(ran.stderr, "", "the job that ran it has annotated it");
}

#[test]
fn expected_kernel_without_a_report_counts_as_infra() {
    use Outcome::Passed;
    let dir = tempfile::tempdir().unwrap();
    let one = write(dir.path(), "one.json", "5.10", [Passed, Passed]);
    let merge = |expect: &str| {
        let mut command = harness(&["report", "--expect", expect]);
        run(command.arg(&one).env("GITHUB_ACTIONS", "true"))
    };
    let ran = merge("5.10");
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));

    let ran = merge("5.10,6.1");
    assert_eq!((ran.status, &ran.report()["verdict"]), (3, &"infra".into()));
    let lost = "no report has this kernel: its job ended before it wrote one";
    assert_eq!(ran.report()["kernels"][1]["requested"], "6.1");
    assert_eq!(ran.report()["kernels"][1]["error"], lost);
    assert_eq!(ran.stderr, format!("::warning title=6.1::{lost}\n"));

    let cache = dir.path().display().to_string();
    let ran = run(&mut harness(&[
        "report",
        "--expect",
        "all",
        "--cache-dir",
        &cache,
    ]));
    assert_eq!(ran.status, 3, "no job wrote any");
    let kernels = ran.report()["kernels"].as_array().unwrap().len();
    assert!(kernels > 10, "{kernels}");
    merge("9.9").one_error(2, &["9.9"]);
}

#[test]
fn closed_stdout_is_an_error_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    let report = write(
        dir.path(),
        "r.json",
        "5.10",
        [Outcome::Passed, Outcome::Passed],
    );
    let report = report.to_str().unwrap();
    for args in [
        &["compare", report, report][..],
        &["report", report],
        &["--list"],
    ] {
        let full = fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let mut command = harness(args);
        let child = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        let ran: Ran = child.wait_with_output().unwrap().into();
        ran.one_error(3, &["cannot write", "stdout"]);
    }
}
