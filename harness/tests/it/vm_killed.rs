//! A harness that is killed or interrupted leaves no VM and no file.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use crate::support::engine::{image, kernel, run};
use crate::support::qemu;
use harness::{
    support::stop::Stop,
    vm::{Accelerator, Config},
};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

/// The variable with the mode of [`harness_in_a_child_process`].
const MARK: &str = "FEXIT_TEST_MARK";

/// A child process that runs a hanging VM, or sleeps if the mark is `sleep`.
struct Harness {
    child: Child,
    mark: String,
    /// Its directory for temporary files.
    files: TempDir,
}

#[test]
#[ignore = "no test: the others run it, as a process that they can kill"]
fn harness_in_a_child_process() {
    let mark = env::var(MARK).unwrap();
    let stop = Stop::on_signals().unwrap();
    if mark == "sleep" {
        println!("sleeping");
        thread::sleep(Duration::from_secs(600));
    }
    let (kernel, image) = (kernel(), image("hang"));
    let mut config = Config::new(&kernel, &image, Accelerator::Tcg);
    config.token = "";
    config.kernel_args = vec![mark];
    println!("{}", run(&qemu(), &config, &stop).finished.ending);
}

impl Harness {
    fn start(mark: &str) -> Self {
        let files = tempfile::tempdir().unwrap();
        let child = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "vm_killed::harness_in_a_child_process",
                "--ignored",
                "--nocapture",
            ])
            .env(MARK, mark)
            .env("TMPDIR", files.path())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        Self {
            child,
            mark: mark.to_owned(),
            files,
        }
    }

    /// Starts one and waits until its VM runs.
    fn with_vm(name: &str) -> Self {
        let harness = Self::start(&format!("fexit.test={name}.{}", std::process::id()));
        eventually("a VM", || harness.has_vm());
        harness
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn has_vm(&self) -> bool {
        fs::read_dir("/proc").unwrap().any(|process| {
            fs::read(process.unwrap().path().join("cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&self.mark))
        })
    }

    /// Waits for its end, checks that no process or file is left, and returns its status and output.
    fn end(mut self) -> (ExitStatus, String) {
        let said = std::io::read_to_string(self.child.stdout.take().unwrap()).unwrap();
        let status = self.child.wait().unwrap();
        eventually("the end of the VM", || !self.has_vm());
        let left: Vec<_> = fs::read_dir(self.files.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        (status, said)
    }
}

fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    for _ in 0..1500 {
        if happened() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("{what}: not within half a minute");
}

#[test]
fn killed_harness_leaves_no_process_or_file() {
    let harness = Harness::with_vm("kill");
    kill_process(harness.pid(), Signal::KILL).unwrap();
    assert_eq!(harness.end().0.signal(), Some(libc::SIGKILL));
}

#[test]
fn crashed_harness_leaves_no_process_or_file() {
    let harness = Harness::with_vm("crash");
    kill_process(harness.pid(), Signal::ABORT).unwrap();
    assert_eq!(harness.end().0.signal(), Some(libc::SIGABRT));
}

#[test]
fn ctrl_c_interrupts_the_run() {
    let harness = Harness::with_vm("int");
    // Like a terminal: to every process of the group.
    kill_process_group(harness.pid(), Signal::INT).unwrap();
    let (status, said) = harness.end();
    assert!(
        status.success() && said.contains("\ninterrupted\n"),
        "{status} {said}"
    );
}

#[test]
fn sigterm_interrupts_the_run() {
    let harness = Harness::with_vm("term");
    kill_process(harness.pid(), Signal::TERM).unwrap();
    let (status, said) = harness.end();
    assert!(
        status.success() && said.contains("\ninterrupted\n"),
        "{status} {said}"
    );
}

#[test]
fn second_signal_ends_an_unresponsive_harness() {
    let mut harness = Harness::start("sleep");
    let mut said = BufReader::new(harness.child.stdout.take().unwrap()).lines();
    said.find(|line| line.as_deref().is_ok_and(|line| line.ends_with("sleeping")))
        .unwrap()
        .unwrap();
    kill_process(harness.pid(), Signal::INT).unwrap();
    eventually("the end", || {
        // Pending signals of one kind are merged, so repeat until it is received twice.
        kill_process(harness.pid(), Signal::INT).unwrap();
        harness.child.try_wait().unwrap().is_some_and(|status| {
            assert_eq!(status.signal(), Some(libc::SIGINT));
            true
        })
    });
}
