//! The endings of VMs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::engine::{Seen, boot, image, kernel, run};
use crate::support::qemu;
use harness::initramfs::cpio::Initramfs;
use harness::{
    support::stop::Stop,
    vm::{Accelerator, Config, Ending, Limits, Observer, Severity, Vm, VmEvent},
};
use protocol::event::Event;

fn ready() -> Event {
    Event::Ready {
        release: "test".into(),
        uptime_us: 1,
    }
}

fn started() -> Event {
    Event::Started {
        scenario: "one".into(),
    }
}

const DONE: Event = Event::Done { scenarios: 1 };

/// The time limit for a boot on a busy machine.
const IDLE_TIMEOUT: Duration = Duration::from_secs(40);

fn assert_ending(seen: &Seen, ending: &Ending) {
    assert_eq!(
        seen.finished.ending,
        *ending,
        "console:\n{}",
        seen.finished.console.text()
    );
}

#[test]
fn done_ends_a_run() {
    let seen = boot("done", |_| {});
    assert_ending(&seen, &Ending::Done);
    assert_eq!(seen.events, [ready(), DONE]);
    assert_eq!(
        (seen.finished.garbage, seen.finished.stderr.as_str()),
        (0, "")
    );
    assert_eq!(seen.finished.console.splats(), []);
}

#[test]
fn panic_keeps_earlier_events() {
    let seen = boot("panic", |_| {});
    let message = "Attempted to kill init! exitcode=0x00000300".to_owned();
    assert_ending(&seen, &Ending::KernelPanic { message });
    assert_eq!(seen.events, [ready(), started()]);
    let panic = seen.finished.console.panic().unwrap();
    assert!(
        panic.lines.iter().any(|line| line.contains("Call Trace")),
        "{panic:?}"
    );
    let last = seen.finished.console.last_lines(1);
    assert!(last[0].contains("Kernel Offset"), "{last:?}");
}

#[test]
fn panic_after_done_is_a_panic() {
    let seen = boot("panic-after-done", |_| {});
    assert!(matches!(seen.finished.ending, Ending::KernelPanic { .. }));
    assert_eq!(seen.events, [ready(), DONE]);
}

#[test]
fn poweroff_before_done_is_an_early_end() {
    let seen = boot("early", |_| {});
    assert_ending(&seen, &Ending::EndedEarly);
    assert_eq!(seen.events, [ready(), started()]);
}

#[test]
fn guest_without_output_ends_at_the_idle_timeout() {
    let seen = boot("hang", |config| config.limits.idle_timeout = IDLE_TIMEOUT);
    assert_ending(
        &seen,
        &Ending::IdleTimeout {
            limit: IDLE_TIMEOUT,
        },
    );
    assert_eq!(seen.events, [ready(), started()]);
}

#[test]
fn guest_with_output_ends_at_the_time_limit() {
    let time_limit = IDLE_TIMEOUT;
    let seen = boot("print-endlessly", |config| {
        config.limits = Limits {
            time_limit,
            idle_timeout: time_limit,
            shutdown_grace: time_limit,
            ..Limits::default()
        };
    });
    assert_ending(&seen, &Ending::TimedOut { limit: time_limit });
    assert!(seen.console.iter().any(|line| line == "still here"));
}

#[test]
fn stall_without_later_events_ends_the_vm() {
    let seen = boot("stall", |_| {});
    let message = "rcu: INFO: rcu_sched self-detected stall on CPU".to_owned();
    assert_ending(&seen, &Ending::KernelHung { message });
    assert_eq!(seen.events, [ready(), started()]);
}

#[test]
fn stall_with_later_events_does_not_end_the_vm() {
    let seen = boot("stall-and-go-on", |config| {
        config.limits.shutdown_grace = Duration::from_millis(1);
    });
    assert_ending(&seen, &Ending::Done);
    assert_eq!(seen.finished.console.splats()[0].severity, Severity::Stall);
}

#[test]
fn endless_splats_end_the_vm_unless_events_follow() {
    let seen = boot("flood-reports", |_| {});
    let Ending::KernelHung { message } = &seen.finished.ending else {
        panic!("{:?}", seen.finished.ending)
    };
    assert!(message.contains("WARNING: CPU: 0 PID: 1"), "{message}");
    let seen = boot("reports-and-events", |_| {});
    assert_ending(&seen, &Ending::Done);
}

#[test]
fn whoever_stays_with_a_vm_can_set_a_limit_of_its_own() {
    struct Impatient(Option<Instant>);
    impl Observer for Impatient {
        fn take(&mut self, event: VmEvent) {
            if let VmEvent::Guest(Event::Started { .. }) = event {
                self.0 = Some(Instant::now());
            }
        }
        fn deadline(&self) -> Option<(Instant, String)> {
            Some((self.0?, "it took too long".to_owned()))
        }
    }
    let (kernel, image) = (kernel(), image("print-endlessly-started"));
    let mut config = Config::new(&kernel, &image, Accelerator::Tcg);
    config.token = "";
    let vm = Vm::start(&qemu(), &config).unwrap();
    let finished = vm.run(&Stop::new().unwrap(), &mut Impatient(None));
    let what = "it took too long".to_owned();
    assert_eq!(finished.unwrap().ending, Ending::Overdue { what });
}

#[test]
fn guest_that_stays_after_done_is_ended_after_the_shutdown_grace() {
    let seen = boot("hang-after-done", |config| {
        config.limits.shutdown_grace = Duration::from_millis(1);
    });
    assert_ending(&seen, &Ending::Done);
}

#[test]
fn warnings_reach_the_console_and_info_messages_do_not() {
    let seen = boot("warn", |_| {});
    assert_ending(&seen, &Ending::Done);
    let [splat] = seen.finished.console.splats() else {
        panic!("{:?}", seen.finished.console.splats())
    };
    assert_eq!(splat.severity, Severity::Warning);
    assert_eq!(
        splat.message,
        "WARNING: CPU: 0 PID: 1 at kernel/test.c:1 test+0x1/0x2"
    );
    assert!(!seen.finished.console.text().contains("not worth a line"));
}

#[test]
fn invalid_events_are_reported_and_skipped() {
    let seen = boot("garbage", |_| {});
    assert_ending(&seen, &Ending::Done);
    assert_eq!(seen.events, [ready(), started(), DONE]);
    let [not_json, unknown, bytes, long, truncated] = &seen.garbage[..] else {
        panic!("{:?}", seen.garbage)
    };
    assert_eq!(not_json.0, "not json");
    assert!(unknown.1.contains("unheard-of"), "{unknown:?}");
    assert!(bytes.0.contains('\u{fffd}'), "{bytes:?}");
    assert!(
        long.1.contains("longer than 1048576 bytes") && long.0.len() == 300,
        "{long:?}"
    );
    assert_eq!(truncated.0, r#"{"event":"star"#);
    assert_eq!(seen.finished.garbage, 5);
}

#[test]
fn event_without_the_token_is_ignored() {
    let seen = boot("done", |config| config.token = "what the guest was given");
    assert_ending(&seen, &Ending::EndedEarly);
    assert_eq!(seen.events, []);
    let reasons: Vec<_> = seen.garbage.iter().map(|(_, why)| why.as_str()).collect();
    assert_eq!(reasons, ["it is forged: it lacks the token of this run"; 2]);
}

#[test]
fn flood_of_events_ends_the_run() {
    let seen = boot("flood-events", |_| {});
    let Ending::Flooded { bytes } = seen.finished.ending else {
        panic!("{:?}", seen.finished.ending)
    };
    assert!((32 << 20..33 << 20).contains(&bytes), "{bytes}");
}

#[test]
fn console_flood_omits_only_the_middle() {
    let seen = boot("flood-console", |_| {});
    assert_ending(&seen, &Ending::Done);
    let text = seen.finished.console.text();
    assert!(text.len() < (4 << 20) + 100, "{}", text.len());
    assert!(text.contains("the first line\n") && text.contains("the last line\n"));
    assert!(text.contains("[... ") && text.contains(" bytes ...]"));
    // Every line was passed on, but not kept.
    assert_eq!(
        seen.console
            .iter()
            .filter(|line| line.starts_with("ccc"))
            .count(),
        60_000
    );
}

#[test]
fn stop_ends_the_vm() {
    let (kernel, image) = (kernel(), image("hang"));
    let mut config = Config::new(&kernel, &image, Accelerator::Tcg);
    config.token = "";
    let stop = Stop::new().unwrap();
    let asker = thread::spawn({
        let stop = stop.clone();
        move || {
            thread::sleep(Duration::from_millis(300));
            stop.request();
        }
    });
    let seen = run(&qemu(), &config, &stop);
    asker.join().unwrap();
    assert_ending(&seen, &Ending::Interrupted);
    // The next VM ends at once.
    assert_ending(&run(&qemu(), &config, &stop), &Ending::Interrupted);
}

#[test]
fn file_that_is_no_kernel_is_a_qemu_failure() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "not a kernel").unwrap();
    let config = Config::new(file.path(), b"", Accelerator::Tcg);
    let seen = run(&qemu(), &config, &Stop::new().unwrap());
    assert!(
        matches!(&seen.finished.ending, Ending::QemuFailed { stderr, .. } if stderr.contains("kernel")),
        "{:?}",
        seen.finished.ending
    );
}

#[test]
fn image_without_init_panics() {
    let (kernel, image) = (kernel(), Initramfs::new().to_bytes());
    let mut config = Config::new(&kernel, &image, Accelerator::Tcg);
    config.token = "";
    let seen = run(&qemu(), &config, &Stop::new().unwrap());
    let Ending::KernelPanic { message } = &seen.finished.ending else {
        panic!("{:?}", seen.finished.ending)
    };
    assert!(message.contains("Unable to mount root fs"), "{message}");
}

#[test]
fn guest_out_of_memory_is_recognized_by_the_oom_killer() {
    let seen = boot("eat-memory", |config| config.memory_mib = 128);
    assert!(matches!(seen.finished.ending, Ending::KernelPanic { .. }));
    let splats = seen.finished.console.splats();
    assert!(
        splats
            .iter()
            .any(|splat| splat.meaning == "the VM ran out of memory"),
        "{splats:?}"
    );
    assert_eq!(seen.events, [ready(), started()]);
}

#[test]
fn more_memory_than_there_is_is_a_failure_of_qemu() {
    let seen = boot("done", |config| config.memory_mib = 1 << 30);
    let Ending::QemuFailed { stderr, .. } = &seen.finished.ending else {
        panic!("{:?}", seen.finished.ending)
    };
    assert!(stderr.contains("memory"), "{stderr}");
}

#[test]
fn full_disk_is_named_and_the_console_is_complete() {
    let dir = tempfile::tempdir().unwrap();
    symlink("/dev/full", dir.path().join("console.log")).unwrap();
    let (kernel, image) = (kernel(), image("done"));
    let mut config = Config::new(&kernel, &image, Accelerator::Tcg);
    config.token = "";
    config.keep = Some(dir.path());
    let seen = run(&qemu(), &config, &Stop::new().unwrap());
    let reason = seen.finished.ending.to_string();
    assert!(
        matches!(seen.finished.ending, Ending::Lost { .. })
            && reason.contains("cannot write")
            && reason.contains("console.log: No space left"),
        "{reason}"
    );
}

#[test]
fn directory_that_cannot_be_made_is_an_error_that_names_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let keep = file.path().join("kept");
    let (kernel, image) = (kernel(), image("done"));
    let mut config = Config::new(&kernel, &image, Accelerator::Tcg);
    config.token = "";
    config.keep = Some(&keep);
    let error = format!("{:#}", Vm::start(&qemu(), &config).unwrap_err());
    assert!(
        error.contains(&format!("cannot make {}: Not a directory", keep.display())),
        "{error}"
    );
}

#[test]
fn kept_files_reproduce_the_run() {
    let dir = tempfile::tempdir().unwrap();
    // A name that must be quoted for QEMU and for the shell.
    // A relative path to the root.
    let root = "../".repeat(32);
    let keep = Path::new(&root)
        .join(dir.path().strip_prefix("/").unwrap())
        .join("it's, kept");
    let (kernel, image) = (kernel(), image("panic"));
    let mut config = Config::new(&kernel, &image, Accelerator::Tcg);
    config.token = "";
    config.keep = Some(&keep);
    let seen = run(&qemu(), &config, &Stop::new().unwrap());

    let read = |name: &str| fs::read_to_string(keep.join(name)).unwrap();
    assert_eq!(
        read("console.log").replace("\r\n", "\n"),
        seen.finished.console.text()
    );
    assert_eq!(read("events.jsonl").lines().count(), 2);
    assert_eq!(fs::read(keep.join("initramfs.cpio")).unwrap(), image);
    assert_eq!(
        read("run.sh").lines().last(),
        Some(seen.finished.command.as_str())
    );

    let again = Command::new(keep.join("run.sh"))
        .current_dir("/")
        .output()
        .unwrap();
    let (console, events) = (again.stdout, again.stderr);
    assert!(String::from_utf8_lossy(&console).contains("Attempted to kill init!"));
    assert!(String::from_utf8_lossy(&events).contains(r#"{"event":"started","scenario":"one"}"#));
}
