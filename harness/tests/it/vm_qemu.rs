//! Faults of QEMU.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::support::engine::{Seen, run};
use harness::{
    support::stop::Stop,
    vm::{Accelerator, Config, Ending, Qemu},
};

/// Runs a script in the place of QEMU; `kernel` selects its fault.
fn pretend(kernel: &str, change: impl FnOnce(&mut Config<'_>)) -> Seen {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/engine/qemu.sh");
    let qemu = Qemu::at(&script).unwrap();
    assert_eq!(qemu.version, "99.1");
    let mut config = Config::new(Path::new(kernel), b"", Accelerator::Tcg);
    change(&mut config);
    run(&qemu, &config, &Stop::new().unwrap())
}

fn message(kernel: &str) -> String {
    pretend(kernel, |_| {}).finished.ending.to_string()
}

/// Waits until the process has ended or is a zombie. If it is not killed, it sleeps for hours.
fn assert_ends(pid: &str) {
    let stat = format!("/proc/{}/stat", pid.trim());
    let alive = || fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
    for _ in 0..500 {
        if !alive() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("still there: {stat}");
}

#[test]
fn qemu_failure_reports_status_and_stderr() {
    assert_eq!(
        message("fails"),
        "QEMU failed, exit status: 1: qemu: cannot do that"
    );
    assert_eq!(
        message("is-killed"),
        "QEMU was killed (SIGKILL); did the host run out of memory?"
    );
    assert!(message("crashes").starts_with("QEMU failed, signal: 11 (SIGSEGV)"));
}

#[test]
fn qemu_success_without_done_is_an_early_end() {
    assert_eq!(pretend("ends", |_| {}).finished.ending, Ending::EndedEarly);
}

#[test]
fn end_of_long_qemu_stderr_is_kept() {
    let stderr = pretend("says-a-lot", |_| {}).finished.stderr;
    assert!(stderr.ends_with("x\u{a}the end\n") || stderr.ends_with("xthe end\n"));
    assert!(stderr.len() <= 64 << 10, "{}", stderr.len());
}

#[test]
fn hanging_qemu_is_killed_with_its_children() {
    let idle_timeout = Duration::from_millis(500);
    let seen = pretend("hangs", |config| config.limits.idle_timeout = idle_timeout);
    assert_eq!(
        seen.finished.ending,
        Ending::IdleTimeout {
            limit: idle_timeout
        }
    );
    assert_ends(&seen.finished.stderr);
}

#[test]
fn remaining_child_of_qemu_does_not_block_the_run() {
    let seen = pretend("leaves-a-child", |_| {});
    assert!(matches!(seen.finished.ending, Ending::QemuFailed { .. }));
    assert_ends(&seen.finished.stderr);
}

#[test]
fn program_that_is_no_qemu_is_refused() {
    let refusal = |path: &str| format!("{:#}", Qemu::at(Path::new(path)).unwrap_err());
    assert!(refusal("/nonexistent/qemu").contains("cannot run /nonexistent/qemu: No such file"));
    assert!(refusal("/etc/passwd").contains("Permission denied"));
    assert!(refusal("/bin/false").contains("not a QEMU"));
    assert!(refusal("/bin/sh").contains("not a QEMU"));
}
