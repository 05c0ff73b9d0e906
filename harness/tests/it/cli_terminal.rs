//! What a person sees on a terminal, and that it stays out of what scripts read.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs::File,
    io::Read as _,
    process::{Command, Stdio},
    thread,
};

use crate::support::{Ran, harness, run};
use rustix::{
    fs::{Mode, OFlags, open},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};

/// Runs it with a terminal for its stderr, and returns the output of the terminal and the result.
pub(crate) fn on_a_terminal(command: &mut Command) -> (Ran, String) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let terminal = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    let child = command
        .env("TERM", "xterm")
        .stdout(Stdio::piped())
        .stderr(terminal)
        .spawn()
        .unwrap();
    // The command holds our end of the terminal open, and with that the reader would never be done.
    command.stderr(Stdio::null());
    let reader = thread::spawn(move || {
        let (mut master, mut shown) = (File::from(master), Vec::new());
        // A read of a terminal fails after the other end is closed.
        let _ = master.read_to_end(&mut shown);
        String::from_utf8_lossy(&shown).into_owned()
    });
    let ran = child.wait_with_output().unwrap().into();
    (ran, reader.join().unwrap())
}

const ESCAPE: char = '\u{1b}';

#[test]
fn progress_is_animated_on_a_terminal_and_plain_elsewhere() {
    let args = ["--kernel", "5.10", "--scenario", "attach,selftest_fail"];
    let (ran, shown) = on_a_terminal(&mut harness(&args));
    assert_eq!(ran.status, 1, "{shown}");
    assert_eq!(ran.report()["kernels"][0]["requested"], "5.10");
    for part in ["booting", "failed on purpose: the cause", "verdict"] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
    // Lines that move are erased and drawn again.
    assert!(shown.contains(&format!("{ESCAPE}[2K")), "{shown:?}");

    let ran = run(&mut harness(&args));
    ran.says(&["failed on purpose: the cause"]);
    assert!(!ran.stderr.contains(ESCAPE), "{:?}", ran.stderr);
    assert!(!ran.stdout.contains(ESCAPE), "{:?}", ran.stdout);
}
