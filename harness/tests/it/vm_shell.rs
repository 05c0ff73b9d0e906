//! `harness shell` and `harness exec --tty` on a pseudo-terminal of the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::harness;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::OFlags,
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};

/// Erases a line: how the harness draws its progress.
const ERASE: &str = "\x1b[2K";

/// The time limit for a boot on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

struct Terminal {
    ours: File,
    /// Kept open, so that the settings can be read after the harness has ended.
    theirs: File,
    shell: Child,
    shown: String,
}

impl Terminal {
    fn open() -> Self {
        Self::with(&["shell", "--kernel", "5.10"])
    }

    /// Runs the harness on a new terminal.
    fn with(args: &[&str]) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        std::os::unix::fs::OpenOptionsExt::custom_flags(
            &mut options,
            OFlags::NOCTTY.bits().cast_signed(),
        );
        let theirs = options.open(name).unwrap();
        let size = Winsize {
            ws_row: 33,
            ws_col: 111,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&theirs, size).unwrap();
        let mut shell = harness(args);
        let end = || Stdio::from(theirs.try_clone().unwrap());
        let shell = shell
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .process_group(0)
            .spawn()
            .unwrap();
        Self {
            ours: ours.into(),
            theirs,
            shell,
            shown: String::new(),
        }
    }

    fn types(&mut self, keys: &str) {
        self.ours.write_all(keys.as_bytes()).unwrap();
    }

    /// Reads until the terminal shows `text`, and returns the output up to its end.
    #[track_caller]
    fn shows(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.shown.find(text) {
                return self.shown.drain(..at + text.len()).collect();
            }
            assert!(Instant::now() < deadline, "no `{text}` in\n{}", self.shown);
            let mut fds = [PollFd::new(&self.ours, PollFlags::IN)];
            let second = Timespec {
                tv_sec: 1,
                tv_nsec: 0,
            };
            if poll(&mut fds, Some(&second)).unwrap() > 0 {
                let mut buffer = [0; 4096];
                let length = self.ours.read(&mut buffer).unwrap();
                self.shown += &String::from_utf8_lossy(&buffer[..length]);
            }
        }
    }

    /// Whether it edits lines and echoes, as it did before.
    fn is_restored(&self) -> bool {
        let modes = tcgetattr(&self.theirs).unwrap().local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    #[track_caller]
    fn ends(mut self, status: Option<i32>) {
        assert_eq!(self.shell.wait().unwrap().code(), status);
        let deadline = Instant::now() + PATIENCE;
        while !self.is_restored() {
            assert!(Instant::now() < deadline, "the terminal is left as it was");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn shell_has_terminal_size_and_bpf_mounts_and_restores_the_terminal() {
    let mut terminal = Terminal::open();
    terminal.shows("5.10 # ");
    assert!(!terminal.is_restored(), "the harness reads whole lines");
    // Input is echoed, so it must not contain the expected output.
    terminal.types("stty size; uname -r | tr 0-9 x; stat -fc %T /sys/fs/bpf\r");
    for text in ["33 111\r\n", "x.xx.x", "bpf_fs"] {
        terminal.shows(text);
    }
    // Ctrl-C ends what runs in the VM, and not the harness. The terminal drops input that is pending then.
    terminal.shows("5.10 # ");
    terminal.types("sh -c 'echo begun-$((20 + 2)); exec sleep 1000'\r");
    terminal.shows("begun-22");
    terminal.types("\x03");
    terminal.shows("5.10 # ");
    terminal.types("echo after-$((20 + 3))\r");
    terminal.shows("after-23");
    // Resizing the terminal resizes the shell's too.
    let size = Winsize {
        ws_row: 44,
        ws_col: 155,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&terminal.ours, size).unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&terminal.shell),
        rustix::process::Signal::WINCH,
    )
    .unwrap();
    terminal.types(
        "until [ \"$(stty size)\" = '44 155' ]; do sleep 0.1; done; echo resized-$((20 + 4))\r",
    );
    terminal.shows("resized-24");
    terminal.types("exit 7\r");
    terminal.ends(Some(7));
}

#[test]
fn progress_is_shown_until_the_program_runs_and_never_between_its_output() {
    // The text between is longer than several redraws.
    let script = "echo begun; sleep 1; echo ended";
    for options in [&["-t"][..], &[]] {
        let exec = ["exec", "--kernel", "5.10"];
        let program = ["--", "sh", "-c", script];
        let mut terminal = Terminal::with(&[&exec[..], options, &program].concat());
        assert!(terminal.shows("begun\r\n").contains(ERASE), "{options:?}");
        assert_eq!(terminal.shows("ended\r\n"), "ended\r\n", "{options:?}");
        terminal.ends(Some(0));
    }
}

#[test]
fn ctrl_a_x_ends_a_hanging_vm() {
    let mut terminal = Terminal::open();
    terminal.shows("5.10 # ");
    terminal.types("kill -STOP $$\r");
    terminal.shows("STOP");
    terminal.types("nobody reads this\r\x01x");
    terminal.ends(Some(0));
}

#[test]
fn exec_gives_its_terminal_to_the_program_and_returns_its_status() {
    let script = "tty; stty size; read -r line; echo read-$line >&2; exit 5";
    let exec = ["exec", "--kernel", "5.10", "-t", "--", "sh", "-c", script];
    let mut terminal = Terminal::with(&exec);
    for text in ["/dev/pts/0", "33 111\r\n"] {
        terminal.shows(text);
    }
    assert!(!terminal.is_restored(), "the harness reads whole lines");
    terminal.types("typed\r");
    terminal.shows("read-typed");
    terminal.ends(Some(5));

    // Ctrl-C is a key for the program, and Ctrl-A X is no success.
    let script = "trap 'echo caught' INT; echo begun; while :; do sleep 1; done";
    let exec = ["exec", "--kernel", "5.10", "-it", "sh", "-c", script];
    let mut terminal = Terminal::with(&exec);
    terminal.shows("begun");
    terminal.types("\x03");
    terminal.shows("caught");
    terminal.types("\x01x");
    terminal.ends(Some(130));
}

#[test]
fn time_limit_of_a_program_with_a_terminal_is_only_what_is_named() {
    let options = ["exec", "--kernel", "5.10", "-t", "--timeout", "2"];
    let mut terminal = Terminal::with(&[&options[..], &["--", "cat"]].concat());
    terminal.shows("the program was still running after 2 s");
    terminal.ends(Some(124));
}

#[test]
fn terminal_is_restored_after_sigkill_and_after_a_panic() {
    let mut terminal = Terminal::open();
    terminal.shows("5.10 # ");
    terminal.shell.kill().unwrap();
    terminal.ends(None);

    let mut terminal = Terminal::open();
    terminal.shows("5.10 # ");
    terminal.types("echo c >/proc/sysrq-trigger\r");
    terminal.shows("the kernel panicked");
    terminal.ends(Some(125));
}

#[test]
fn without_a_terminal_commands_are_read_from_the_input() {
    let mut shell = harness(&["shell", "--kernel", "5.10"]);
    let mut shell = shell
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = shell.stdin.take().unwrap();
    // The VM has the tools that this machine has.
    let has = |tool: &&str| {
        let version = Command::new("sh")
            .args(["-c", &format!("PATH=$PATH:/usr/sbin {tool}")])
            .output();
        version.unwrap().status.code() != Some(127)
    };
    let tools = ["bpftool version", "busybox true", "ls /"];
    let script = tools.map(|tool| format!("{tool} > /dev/null; echo $(($? < 127))\n"));
    stdin.write_all(script.concat().as_bytes()).unwrap();
    stdin.write_all(b"exit 3\n").unwrap();
    drop(stdin);
    let output = shell.wait_with_output().unwrap();
    let expected = tools.map(|tool| format!("{}\n", u8::from(has(&tool))));
    assert_eq!(
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap()
        ),
        (Some(3), expected.concat())
    );
}
