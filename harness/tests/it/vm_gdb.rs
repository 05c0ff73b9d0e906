//! `harness exec --gdb` with a real gdb.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    thread,
};

use crate::{
    support::{Ran, harness},
    vm_options::exec,
};

/// Connects a real gdb by the command that the harness prints, with more arguments.
fn gdb(exec: &mut Child, more: &[&str]) -> String {
    let mut stderr = BufReader::new(exec.stderr.take().unwrap());
    let mut said = String::new();
    let command = loop {
        let before = said.len();
        assert!(stderr.read_line(&mut said).unwrap() > 0, "{said}");
        if let Some(command) = said[before..].trim().strip_prefix("gdb ") {
            break format!("gdb -nx -batch {command} \"$@\" 2>&1");
        }
    };
    assert!(said.contains("without types and lines"), "{said}");
    thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::stderr()));
    let gdb = Command::new("sh")
        .args(["-c", &command, "sh"])
        .args(more)
        .output();
    String::from_utf8_lossy(&gdb.unwrap().stdout).into_owned()
}

#[test]
fn debugger_stops_the_kernel_in_a_function_and_the_vm_goes_on() {
    for kernel in ["5.10", "7.3"] {
        let options = [
            "exec",
            "--kernel",
            kernel,
            "--gdb",
            "--cpus",
            "2",
            "--",
            "cat",
            "/proc/cmdline",
        ];
        let mut exec = harness(&options);
        exec.stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut exec = exec.spawn().unwrap();
        let commands = [
            "hbreak *start_kernel",
            "continue",
            "info symbol $pc",
            "delete",
            "break *vfs_read",
            "continue",
            "backtrace 1",
            "x/i $pc",
            "x/gx &jiffies_64",
            "delete",
            "detach",
        ];
        let commands = commands.map(|command| ["-ex", command]);
        let shown = gdb(&mut exec, commands.as_flattened());
        for part in [
            "start_kernel in section",
            "#0  ",
            " in vfs_read ()",
            "<vfs_read>:",
            "<jiffies_64>:",
            "detached",
        ] {
            assert!(shown.contains(part), "no `{part}` in\n{shown}");
        }
        let ran = Ran::from(exec.wait_with_output().unwrap());
        assert_eq!(ran.status, 0, "{shown}");
        assert!(ran.stdout.contains(" nokaslr"), "{}", ran.stdout);
    }
}

#[test]
fn vm_that_a_debugger_kills_is_an_error_and_is_not_tried_again() {
    let mut exec = exec(&["--gdb"], &["true"]);
    let mut exec = exec.stderr(Stdio::piped()).spawn().unwrap();
    gdb(&mut exec, &["-ex", "kill"]);
    assert_eq!(exec.wait().unwrap().code(), Some(125));
}
