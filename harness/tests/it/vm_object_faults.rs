//! Objects whose programs, names or commands break something: the run goes on, and the report says what happened.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::support::objects::{compile, program};
use crate::support::{harness, run};
use serde_json::{Value, json};

/// The verifier's log of a refused program can be longer than what one process may report.
#[test]
fn program_that_is_refused_with_megabytes_of_log_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let source = r#"
        SEC("kprobe/vfs_read") int talkative(u64 *ctx) {
            u64 sum = ctx[0];
            for (int i = 0; i < 8000; i++) { sum = sum * 3 + i; __asm__ volatile("" : "+r"(sum)); }
            return ctx[1000] + sum;
        }
    "#;
    let object = compile(dir.path(), "talkative", source);
    let object = object.to_str().unwrap();
    let ran = run(&mut harness(&["--kernel", "6.12", "--object", object]));
    let report = ran.report();
    let program = program(&report["kernels"][0], "talkative");
    assert_eq!(program["outcome"], "refused", "{program}");
    assert_eq!(program["reason"]["kind"], "verifier");
    assert!(
        program["verifier"]["instructions_processed"].as_u64() > Some(8000),
        "{program}"
    );
}

/// A map that is too large for the VM, names with terminal escapes, and a command that forges events, prints megabytes and
/// kills its shell.
#[test]
fn hostile_programs_do_not_prevent_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let source = r#"
        struct {
            int (*type)[2]; int (*max_entries)[0x7fffffff]; u32 *key; struct { char b[4096]; } *value;
        } giant SEC(".maps");
        SEC("fexit/vfs_read") int a_giant(u64 *ctx) { u32 k = 0; return map_lookup_elem(&giant, &k) ? 1 : 0; }
        int evil(u64 *ctx) __asm__("evil\x1b]0;owned\x07\n../../../tmp/x");
        SEC("fexit/vfs_read") int evil(u64 *ctx) { return 0; }
        SEC("fexit/vfs_read") int sound(u64 *ctx) { return 0; }
    "#;
    let object = compile(dir.path(), "hostile\x1b[2J", source);
    // It writes a forged event for the first program to every device that leads to the host.
    let trigger = r#"
        forged='{"event":"program-finished","index":0,"outcome":"works","duration_us":1,"stages":{},"notes":[]}'
        mknod /tmp/port c 4 65 && echo "$forged" > /tmp/port
        for port in /dev/console /dev/ttyS0 /dev/ttyS1 /dev/kmsg /proc/1/fd/*; do
            printf '%s\033[2J\n' "$forged" > $port
        done
        sleep 999 &
        head -c 3000000 /dev/zero | tr '\0' x
        kill -9 $$
    "#;
    let args = [
        "--kernel",
        "5.10",
        "--object",
        object.to_str().unwrap(),
        "--trigger",
        trigger,
    ];
    let ran = run(&mut harness(&args));
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    assert!(
        !ran.stderr.contains('\x1b') && !ran.stdout.contains('\x1b'),
        "{:?}",
        ran.stderr
    );
    let report = ran.report();
    let kernel = &report["kernels"][0];
    let giant = program(kernel, "a_giant");
    assert_eq!(
        (&giant["outcome"], &giant["reason"]["kind"]),
        (&"refused".into(), &"map".into())
    );
    assert_eq!(kernel["error"], Value::Null, "{kernel}");
    let sound = program(kernel, "sound");
    assert_eq!(sound["outcome"], "works", "{sound}");
    let trigger = &sound["trigger"];
    assert!(
        trigger["ended"].as_str().unwrap().contains("signal"),
        "{trigger}"
    );
    assert!(trigger["output"].as_str().unwrap().len() < 20_000);
    let evil = program(kernel, "evil\x1b]0;owned\x07\n../../../tmp/x");
    assert!(
        ["works", "refused"].contains(&evil["outcome"].as_str().unwrap()),
        "{evil}"
    );
}

/// An object with that many programs, each for a function that every kernel has.
fn many(count: usize) -> String {
    let functions = [
        "vfs_read",
        "vfs_write",
        "vfs_open",
        "vfs_statx",
        "vfs_fsync",
        "vfs_mkdir",
        "vfs_rmdir",
        "vfs_unlink",
        "vfs_rename",
        "vfs_link",
        "vfs_symlink",
        "vfs_readlink",
    ];
    let program = |name| format!("SEC(\"fexit/{name}\") int on_{name}(u64 *ctx) {{ return 0; }}\n");
    functions.into_iter().take(count).map(program).collect()
}

#[test]
fn program_that_hangs_the_kernel_is_timed_out_and_the_next_one_runs() {
    let dir = tempfile::tempdir().unwrap();
    // On 5.10 the kernel hangs as soon as the first one is attached.
    let source = r#"
        SEC("fexit/rcu_read_unlock_strict") int hangs(u64 *ctx) { return 0; }
        SEC("fexit/vfs_open") int works(u64 *ctx) { return 0; }
    "#;
    let object = compile(dir.path(), "hangs", source);
    let ran = run(&mut harness(&[
        "--kernel",
        "5.10",
        "--object",
        object.to_str().unwrap(),
    ]));
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    let report = ran.report();
    let kernel = &report["kernels"][0];
    assert_eq!(
        (&kernel["error"], &kernel["attempts"]),
        (&Value::Null, &json!(2))
    );
    assert_eq!(
        kernel["restarts"][0]["running"],
        json!(["the program hangs"])
    );
    let hangs = program(kernel, "hangs");
    assert_eq!(hangs["outcome"], "timed-out");
    let why = hangs["reason"]["text"].as_str().unwrap();
    assert!(
        why.contains("the kernel hung") && why.contains("kernel BUG at"),
        "{why}"
    );
    assert_eq!(program(kernel, "works")["outcome"], "works");
}

#[test]
fn kernel_run_stops_after_ten_crashed_vms() {
    let dir = tempfile::tempdir().unwrap();
    let object = compile(dir.path(), "many", &many(12));
    let ran = run(
        harness(&["--kernel", "5.10", "--object", object.to_str().unwrap()])
            .args(["--trigger", "echo c > /proc/sysrq-trigger"]),
    );
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    let report = ran.report();
    let kernel = &report["kernels"][0];
    let count = |outcome: &str| {
        let programs = kernel["programs"].as_array().unwrap();
        programs.iter().filter(|p| p["outcome"] == outcome).count()
    };
    assert_eq!((count("panicked"), count("skipped")), (11, 1), "{kernel}");
    assert_eq!(kernel["restarts"].as_array().unwrap().len(), 10);
    let error = kernel["error"].as_str().unwrap();
    assert!(error.contains("10 VMs crashed"), "{error}");
}
