//! Runs in a VM by `harness exec`: see the documentation of the crate.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{env, fs::File};

use in_vm::Opens;

/// Fails on the host, where the test cannot run.
fn only_in_a_vm() {
    assert!(
        env::var_os("FEXIT_VM").is_some(),
        "this test loads a program into the kernel, so it runs in a VM only. Set \
         CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER=\"harness exec --kernel 6.1 --\""
    );
}

#[test]
fn successful_and_failed_opens_are_counted() {
    only_in_a_vm();
    let opens = Opens::count().unwrap();
    let before = opens.counts().unwrap();
    for _ in 0..3 {
        File::open("/proc/self/status").unwrap();
    }
    File::open("/no/such/file").unwrap_err();
    let after = opens.counts().unwrap();
    assert_eq!((after.0 - before.0, after.1 - before.1), (3, 1));
}

#[test]
#[ignore = "fails on purpose, to show that cargo reports it"]
fn failure_in_the_vm_fails_the_test() {
    only_in_a_vm();
    let opens = Opens::count().unwrap();
    let before = opens.counts().unwrap();
    File::open("/proc/self/status").unwrap();
    assert_eq!(opens.counts().unwrap(), before, "the open was counted");
}
