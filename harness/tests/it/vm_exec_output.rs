//! `harness exec` in real VMs: what a program reads and writes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    io::{Read as _, Write as _},
    path::Path,
    process::Stdio,
};

use crate::{
    support::harness,
    vm_exec::{compile, exec},
};

#[test]
fn stdin_is_passed_completely_up_to_eof() {
    // Larger than all buffers in between.
    let input: Vec<u8> = (0..100_000_u32).map(|n| (n * 7 % 251) as u8).collect();
    let mut exec = exec(Path::new("/"), &["--stdin"], &["sh", "-c", "sleep 1; cat"]);
    let mut child = exec
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let sent = input.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&sent).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout == input, "{} bytes", output.stdout.len());
}

/// Numbers from 0 on, as words, without a copy in memory.
#[track_caller]
fn assert_numbers(stream: impl std::io::Read, count: u64) {
    let mut stream = std::io::BufReader::new(stream);
    for number in 0..count {
        let mut word = [0; 8];
        stream.read_exact(&mut word).unwrap();
        assert_eq!(u64::from_le_bytes(word), number);
    }
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "nothing follows");
}

#[test]
fn long_output_arrives_complete_in_order_and_apart() {
    const STDOUT: u64 = 50_000_000 / 8;
    const STDERR: u64 = STDOUT / 10;
    let dir = tempfile::tempdir().unwrap();
    let program = r#"
        #include <stdlib.h>
        #include <unistd.h>
        static unsigned long words[2][10000], next[2];
        static void put(int stream, unsigned long count) {
            for (unsigned long i = 0; i < count; i++)
                words[stream][i] = next[stream]++;
            char *at = (char *)words[stream], *end = at + count * 8;
            while (at < end) {
                long written = write(stream + 1, at, end - at);
                if (written <= 0)
                    exit(1);
                at += written;
            }
        }
        int main(void) {
            for (int round = 0; round < 625; round++)
                put(0, 10000), put(1, 1000);
            return 0;
        }
    "#;
    compile(&["-O2", "-static", "-onumbers"], program, dir.path());
    for options in [
        &["--kernel", "5.10"][..],
        &["--kernel", "7.3"],
        &["--kernel", "7.3", "--no-template"],
    ] {
        // What the harness says while it prepares the kernel would be among the numbers.
        let ready = harness(&["exec"])
            .args(options)
            .args(["--", "true"])
            .status();
        assert!(ready.unwrap().success());
        let mut exec = harness(&["exec"]);
        exec.args(options).args(["--", "./numbers"]);
        exec.current_dir(dir.path()).stdin(Stdio::null());
        exec.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = exec.spawn().unwrap();
        let errors = child.stderr.take().unwrap();
        // A warning that the output passes the serial port would be among the numbers.
        let errors = std::thread::spawn(move || assert_numbers(errors, STDERR));
        assert_numbers(child.stdout.take().unwrap(), STDOUT);
        errors.join().unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn closed_output_ends_the_vm() {
    let mut exec = exec(Path::new("/"), &[], &["yes"]);
    let mut child = exec.stdout(Stdio::piped()).spawn().unwrap();
    let mut some = [0; 100_000];
    child.stdout.take().unwrap().read_exact(&mut some).unwrap();
    assert!(some.starts_with(b"y\ny\n"));
    assert_eq!(child.wait().unwrap().code(), Some(128 + 13));
}

/// A kernel under lockdown does not let the device's memory be mapped.
#[test]
fn output_passes_the_serial_port_under_lockdown() {
    let script = "seq 20000; seq 5 >&2";
    let expected: String = (1..=20_000).map(|number| format!("{number}\n")).collect();
    for (options, by_serial_port) in [
        (&[][..], false),
        (&["--append", "lockdown=integrity"], true),
    ] {
        let mut exec = exec(Path::new("/"), options, &["sh", "-c", script]);
        let output = exec.output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        assert!(
            output.stdout == expected.as_bytes(),
            "{options:?}: {stderr}"
        );
        assert!(stderr.ends_with("1\n2\n3\n4\n5\n"), "{stderr}");
        assert_eq!(stderr.contains("serial port"), by_serial_port, "{stderr}");
    }
}
