//! `harness kernels build`: its requirements, and that no compiler outlives it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::{harness, run, stalled::Stalled};
use rustix::process::{Pid, Signal, kill_process};

const PATIENCE: Duration = Duration::from_secs(60);

const TOOLS: [&str; 7] = ["gcc", "ld", "flex", "bison", "bc", "perl", "pahole"];

/// A folder of programs that print version 1.24 and do nothing.
fn stubs(dir: &Path, names: &[&str]) -> String {
    let bin = dir.join("bin");
    fs::create_dir(&bin).unwrap();
    for name in names {
        fs::write(bin.join(name), "#!/bin/sh\necho v1.24\n").unwrap();
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    bin.display().to_string()
}

#[test]
fn missing_tools_are_named_all_at_once_with_their_packages() {
    let dir = tempfile::tempdir().unwrap();
    let bin = stubs(dir.path(), &["gcc", "ld", "bc", "perl", "make"]);
    let cache = dir.path().join("cache");
    run(harness(&["kernels", "build", "5.5", "--cache-dir"])
        .arg(&cache)
        .env("PATH", bin))
    .one_error(
        3,
        &[
            "without flex, bison, pahole",
            "apt-get install flex bison dwarves",
        ],
    );
    assert!(!cache.exists());
}

#[test]
fn build_without_kernel_and_source_is_a_usage_error() {
    let ran = run(&mut harness(&["kernels", "build"]));
    assert_eq!(ran.status, 2);
    ran.says(&["KERNEL"]);
}

#[test]
fn ctrl_c_leaves_no_make_behind() {
    let (status, stderr) = signalled(Signal::INT);
    assert_eq!(status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("interrupted"), "{stderr}");
}

#[test]
fn ctrl_c_does_not_wait_for_kernel_org() {
    let dir = tempfile::tempdir().unwrap();
    let stalled = Stalled::new();
    let (url, matrix) = (&stalled.url, dir.path().join("kernels.toml"));
    let text = format!(
        "[source.kernel-org]\nkind = 'kernel-org'\nmirrors = ['{url}/pub']\n\
         [source.kernel-org.key]\nfingerprint = '{}'\nurl = '{url}/key.asc'\n\
         [[series]]\nnames = ['5.5']\nsource = 'kernel-org'\n",
        "0".repeat(40)
    );
    fs::write(&matrix, text).unwrap();
    let path = format!("{}:/usr/bin:/bin", stubs(dir.path(), &TOOLS));
    let mut build = harness(&["kernels", "build", "5.5", "--matrix"]);
    build.arg(&matrix).arg("--cache-dir");
    let ran = stalled.interrupt(build.arg(dir.path().join("cache")).env("PATH", path));
    ran.says(&["interrupted"]);
}

#[test]
fn sigkill_leaves_no_make_behind() {
    let (status, _) = signalled(Signal::KILL);
    assert_eq!(status.code(), None);
}

/// Starts a build, sends a signal while a compiler runs, and checks that the compiler ends.
fn signalled(signal: Signal) -> (ExitStatus, String) {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("arch/x86")).unwrap();
    fs::write(tree.join("Kconfig"), "").unwrap();
    let compiler = dir.path().join("compiler");
    fs::write(
        tree.join("Makefile"),
        format!(
            "VERSION = 5\nPATCHLEVEL = 5\nSUBLEVEL = 1\nolddefconfig:\n\
             bzImage:\n\tsh -c 'echo $$$$ > {}; sleep 300; true'\n",
            compiler.display()
        ),
    )
    .unwrap();
    let path = format!("{}:/usr/bin:/bin", stubs(dir.path(), &TOOLS));
    let child = harness(&["kernels", "build", "--source"])
        .arg(&tree)
        .arg("--cache-dir")
        .arg(dir.path().join("cache"))
        .env("PATH", path)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pid = String::new();
    until("a compiler is at work", || {
        pid = fs::read_to_string(&compiler).unwrap_or_default();
        pid.ends_with('\n')
    });
    assert!(runs(pid.trim()));
    kill_process(Pid::from_child(&child), signal).unwrap();
    let output = child.wait_with_output().unwrap();
    until("the compiler has ended", || !runs(pid.trim()));
    (
        output.status,
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z"))
}

fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let started = Instant::now();
    while !happened() {
        assert!(started.elapsed() < PATIENCE, "{what}: it did not happen");
        thread::sleep(Duration::from_millis(20));
    }
}
