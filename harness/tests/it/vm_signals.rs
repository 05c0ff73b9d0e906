//! After a signal to the harness no VM is left, and the report has the finished results.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::{harness, qemu, report_file, run, scenarios};
use crate::vm_templates;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn ctrl_c_ends_the_vm_and_keeps_finished_results() {
    let (report, status) = signalled(libc::SIGINT);
    assert_eq!(status.code(), Some(130));
    assert_eq!(report["kernels"][0]["error"], "interrupted");
}

#[test]
fn sigterm_ends_the_vm_and_keeps_finished_results() {
    let (report, status) = signalled(libc::SIGTERM);
    assert_eq!(status.code(), Some(143));
    assert_eq!(report["kernels"][0]["error"], "interrupted");
}

#[test]
fn sigkill_leaves_no_vm_and_a_partial_report() {
    let (report, status) = signalled(libc::SIGKILL);
    assert_eq!(status.signal(), Some(libc::SIGKILL));
    let error = report["kernels"][0]["error"].as_str().unwrap();
    assert!(
        error.contains("ended before this kernel was finished"),
        "{error}"
    );
}

#[test]
fn finished_kernel_stays_in_the_report_of_a_killed_harness() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("report.json");
    // The second kernel is the last one, and does not finish.
    let mut child = start(&output, &["--kernel", "6.1,5.10", "--jobs", "1"], "attach");
    until("the first kernel is in the report", || {
        output.exists() && report_file(&output)["kernels"][0]["verdict"] == "ok"
    });
    signal(&child, libc::SIGKILL);
    child.wait().unwrap();
    let report = report_file(&output);
    assert_eq!(scenarios(&report, 0)[0], ["attach", "passed", "ok"]);
    assert_eq!(report["kernels"][1]["verdict"], "infra");
    assert_eq!(report["verdict"], "infra");
}

#[test]
fn ctrl_c_ends_the_wait_for_a_template_that_another_harness_makes() {
    let cache = vm_templates::cache();
    let exec = || {
        let mut exec = harness(&["exec", "--kernel", "5.10", "--offline", "--accel", "tcg"]);
        exec.args(["-v", "--cache-dir"]).arg(cache.path());
        exec.args(["--", "true"]);
        exec
    };
    assert_eq!(run(&mut exec()).status, 0);
    let template = vm_templates::template(cache.path());
    let lock = format!("template-{}", template.file_name().unwrap().display());
    let lock = fs::File::open(cache.path().join("locks").join(lock)).unwrap();
    fs::remove_dir_all(template).unwrap();
    lock.lock().unwrap();

    let said = cache.path().join("stderr");
    let stderr = fs::File::create(&said).unwrap();
    let mut child = exec().stderr(stderr).spawn().unwrap();
    until("it waits", || {
        fs::read_to_string(&said).is_ok_and(|said| said.contains("waiting for another harness"))
    });
    signal(&child, libc::SIGINT);
    let mut status = None;
    until("it ended", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.unwrap().code(), Some(130));
}

#[test]
fn dead_qemu_is_retried_once_and_is_infra() {
    let dir = tempfile::tempdir().unwrap();
    let script = a_qemu_that_dies(dir.path(), "always");
    // Without a template: one that is made starts a QEMU of its own.
    let args = ["--kernel", "5.10", "--scenario", "attach", "--no-template"];
    let ran = run(harness(&args).env("QEMU", &script));
    assert_eq!(ran.status, 3, "{}", ran.stderr);
    let report = ran.report();
    let kernel = &report["kernels"][0];
    assert_eq!(
        (&kernel["verdict"], &kernel["attempts"]),
        (&"infra".into(), &2.into())
    );
    assert!(
        kernel["error"]
            .as_str()
            .unwrap()
            .contains("QEMU was killed"),
        "{kernel}"
    );
    assert!(
        kernel["warnings"][0]
            .as_str()
            .unwrap()
            .contains("tried once more"),
        "{kernel}"
    );
    let command = kernel["qemu_command"].as_str().unwrap();
    assert!(command.contains("-kernel"), "{command}");
    assert_eq!(scenarios(&report, 0)[0], ["attach", "skipped", "unknown"]);
    let starts = fs::read_to_string(dir.path().join("qemu.log")).unwrap();
    assert_eq!(starts.lines().count(), 2);
}

#[test]
fn second_attempt_counts_and_files_of_the_first_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let script = a_qemu_that_dies(dir.path(), "once");
    let keep = dir.path().join("keep");
    // Without a template: one that is made starts a QEMU of its own.
    let mut command = harness(&["--kernel", "5.10", "--scenario", "attach", "--no-template"]);
    let ran = run(command.arg("--keep").arg(&keep).env("QEMU", &script));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let report = ran.report();
    let kernel = &report["kernels"][0];
    assert_eq!(kernel["attempts"], 2);
    let warning = kernel["warnings"][0].as_str().unwrap();
    assert!(
        warning.starts_with("tried once more, because: QEMU was killed"),
        "{warning}"
    );
    assert_eq!(scenarios(&report, 0)[0], ["attach", "passed", "ok"]);
    for (kept, first) in [("5.10-attempt-1", true), ("5.10", false)] {
        let kept = keep.join(kept);
        let console = fs::read_to_string(kept.join("console.log")).unwrap();
        assert_eq!(console.contains("before it died"), first, "{console}");
        assert!(kept.join("run.sh").exists());
    }
}

/// A QEMU that is killed when it starts a VM: `always`, or `once`. It prints the first line of the console.
fn a_qemu_that_dies(dir: &Path, how_often: &str) -> PathBuf {
    let script = dir.join("qemu");
    let text = format!(
        "#!/bin/sh\n\
         case \" $* \" in *\" --version \"*) exec qemu-system-x86_64 \"$@\" ;; esac\n\
         [ {how_often} = once ] && [ -e \"$0.log\" ] && exec qemu-system-x86_64 \"$@\"\n\
         echo started >> \"$0.log\"\n\
         for argument; do case $argument in file,id=console,*) \
         echo before it died > \"${{argument##*path=}}\" ;; esac; done\n\
         kill -9 $$\n"
    );
    write_script(&script, &text);
    script
}

fn write_script(script: &Path, text: &str) {
    fs::write(script, text).unwrap();
    fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Sends a signal to the harness while its VM hangs in a scenario, after one that passed. Checks that the VM ends, and
/// returns the report and the exit status.
#[track_caller]
fn signalled(number: i32) -> (Value, std::process::ExitStatus) {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("report.json");
    let keep = dir.path().join("keep");
    let events = keep.join("5.10/events.jsonl");
    let args = ["--kernel", "5.10", "--keep", keep.to_str().unwrap()];
    let mut child = start(&output, &args, "attach,selftest_init_hang");
    until("the scenario that hangs has started", || {
        fs::read_to_string(&events)
            .is_ok_and(|text| text.contains(r#""scenario":"selftest_init_hang""#))
    });
    let vms = children(&child);
    assert_eq!(vms.len(), 1, "not one VM");
    if qemu().has_sandbox {
        let status = fs::read_to_string(vms[0].join("status")).unwrap();
        assert!(status.contains("Seccomp:\t2"), "no sandbox: {status}");
    }
    signal(&child, number);
    let status = child.wait().unwrap();
    until("the VM is gone", || !vms[0].exists());
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        2,
        "files are left in addition to the report"
    );
    let report = report_file(&output);
    if number != libc::SIGKILL {
        assert_eq!(scenarios(&report, 0)[0], ["attach", "passed", "ok"]);
        assert_eq!(
            scenarios(&report, 0)[1],
            ["selftest_init_hang", "skipped", "unknown"]
        );
    }
    (report, status)
}

fn start(output: &Path, args: &[&str], ids: &str) -> Child {
    let mut command = harness(args);
    command.args(["--scenario", ids, "--output"]).arg(output);
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn signal(child: &Child, number: i32) {
    let pid = rustix::process::Pid::from_child(child);
    let signal = rustix::process::Signal::from_named_raw(number).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// The /proc folders of the children of a process.
fn children(parent: &Child) -> Vec<PathBuf> {
    let tasks = fs::read_dir(format!("/proc/{}/task", parent.id())).unwrap();
    let lists =
        tasks.map(|task| fs::read_to_string(task.unwrap().path().join("children")).unwrap());
    lists
        .flat_map(|list| {
            list.split_whitespace()
                .map(|pid| Path::new("/proc").join(pid))
                .collect::<Vec<_>>()
        })
        .collect()
}

#[track_caller]
fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let start = Instant::now();
    while !reached() {
        assert!(start.elapsed() < PATIENCE, "never came: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}
