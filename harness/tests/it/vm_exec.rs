//! `harness exec` in real VMs: the environment of a program, and its exit status.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use crate::support::harness;

/// `harness exec` on 5.10 in `folder`, with options in front of the command.
pub(crate) fn exec(folder: &Path, options: &[&str], command: &[&str]) -> Command {
    let mut exec = harness(&["exec", "--kernel", "5.10"]);
    exec.args(options).arg("--").args(command);
    exec.current_dir(folder).stdin(Stdio::null());
    exec
}

pub(crate) fn here(command: &[&str]) -> Output {
    exec(Path::new("/"), &[], command).output().unwrap()
}

#[track_caller]
pub(crate) fn assert_said(output: &Output, status: i32, parts: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{stderr}");
    for part in parts {
        assert!(stderr.contains(part), "no `{part}` in\n{stderr}");
    }
    assert!(!stderr.contains("panicked at"), "{stderr}");
}

pub(crate) fn compile(arguments: &[&str], source: &str, folder: &Path) {
    let mut cc = Command::new("cc");
    cc.args(["-xc", "-"]).args(arguments).current_dir(folder);
    let mut cc = cc.stdin(Stdio::piped()).spawn().expect("cc");
    cc.stdin
        .take()
        .unwrap()
        .write_all(source.as_bytes())
        .unwrap();
    assert!(cc.wait().unwrap().success());
}

/// A program that finds its library by `$ORIGIN`, and a script that runs it.
fn project(script: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["bin", "lib"] {
        fs::create_dir(dir.path().join(folder)).unwrap();
    }
    let library = "int answer(void) { return 42; }";
    compile(
        &["-shared", "-fPIC", "-olib/libanswer.so"],
        library,
        dir.path(),
    );
    let program = r#"
        #include <stdio.h>
        int answer(void);
        int main(void) { printf("answer %d\n", answer()); return answer(); }
    "#;
    let runpath = "-Wl,--enable-new-dtags,-rpath,$ORIGIN/../lib";
    compile(
        &["-obin/program", "-xnone", "lib/libanswer.so", runpath],
        program,
        dir.path(),
    );
    let path = dir.path().join("script");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

const SCRIPT: &str = r#"#!/bin/sh
echo "arguments $# $1"
echo "folder $(pwd)"
echo "set $SET home $HOME shell $0"
echo "left ${DISPLAY-nothing}"
cat data elsewhere
stat -fc %T /sys/fs/bpf /sys/fs/cgroup /sys/kernel/tracing /dev/pts
cat /sys/class/net/lo/flags
ls /sys/class/net
readlink /proc/self/fd/0
printf '\000\001\377\r\n'
echo "to stderr" >&2
bin/program
"#;

#[test]
fn exec_brings_dependencies_and_returns_output_unchanged() {
    let dir = project(SCRIPT);
    fs::write(dir.path().join("data"), "some data\n").unwrap();
    let data = dir.path().join("data:elsewhere");
    let options = [
        ["--file", "data"],
        ["--file", data.to_str().unwrap()],
        ["--file", "bin/program"],
        ["--env", "SET=to this"],
    ];
    let mut exec = exec(
        dir.path(),
        options.as_flattened(),
        &["./script", "two words"],
    );
    let output = exec.env("DISPLAY", ":0").output().unwrap();
    assert_said(&output, 42, &["to stderr\n"]);
    let folder = dir.path().display();
    let expected = [
        "arguments 1 two words\n",
        &format!("folder {folder}\n"),
        "set to this home /root shell ./script\n",
        "left nothing\nsome data\nsome data\n",
        "bpf_fs\ncgroup2fs\ntracefs\ndevpts\n",
        "0x9\nlo\n/dev/null\n",
    ];
    let mut expected = expected.concat().into_bytes();
    expected.extend(b"\0\x01\xff\r\nanswer 42\n");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&expected)
    );
    assert_eq!(output.stdout, expected);
}

#[test]
fn secrets_stay_on_the_host_unless_env_names_them() {
    let secrets = [
        "GITHUB_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "CARGO_REGISTRY_TOKEN",
        "CARGO_REGISTRIES_MINE_TOKEN",
        "NO_SUCH_PASSWORD",
    ];
    let dir = tempfile::tempdir().unwrap();
    let keep = dir.path().join("new/kept");
    let options = ["--env", "GITHUB_TOKEN", "--keep", keep.to_str().unwrap()];
    let mut exec = exec(Path::new("/"), &options, &["env"]);
    exec.envs(secrets.map(|name| (name, format!("secret of {name}"))));
    let output = exec.env("RUST_LOG", "debug").output().unwrap();
    assert_said(&output, 0, &[]);
    let environment = String::from_utf8(output.stdout).unwrap();
    for line in ["RUST_LOG=debug", "GITHUB_TOKEN=secret of GITHUB_TOKEN"] {
        assert!(environment.contains(line), "no {line} in\n{environment}");
    }
    assert_eq!(environment.matches("secret").count(), 1, "{environment}");

    // The named files are in the initramfs that --keep writes.
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let files = ["initramfs.cpio", "console.log", "events.jsonl"].map(|name| (name, 0o600));
    for (name, expected) in files.into_iter().chain([("run.sh", 0o700), ("", 0o700)]) {
        assert_eq!(mode(&keep.join(name)), expected, "{name}");
    }
}

#[test]
fn signal_and_exit_status_are_distinguished() {
    // Kernel messages that it causes are escaped for the terminal.
    let script = "printf '<1>BUG: mine\\033[2J\\n' > /dev/kmsg; sleep 1; kill -SEGV $$";
    let output = here(&["sh", "-c", script]);
    let said = ["ended by signal 11", "the kernel reported: BUG: mine"];
    assert_said(&output, 139, &said);
    assert!(!output.stderr.contains(&0x1b));
}

/// A VM from a template gets its files, and the job with its token, through the memory of a device.
#[test]
fn template_handover_memory_is_cleared() {
    let dir = tempfile::tempdir().unwrap();
    let program = r#"
        #include <fcntl.h>
        #include <stdio.h>
        #include <string.h>
        #include <sys/mman.h>
        #include <unistd.h>
        enum { LENGTH = 1 << 20 };
        static char zeroes[LENGTH];
        int main(int count, char **arguments) {
            int file = open(arguments[1], O_RDONLY);
            char *window = mmap(0, LENGTH, PROT_READ, MAP_SHARED, file, 0);
            if (count != 2 || window == MAP_FAILED)
                return perror(arguments[1]), 1;
            // The host may be slow.
            for (int tries = 0; tries < 100 && memcmp(window, zeroes, LENGTH); tries++)
                usleep(100000);
            puts(memcmp(window, zeroes, LENGTH) ? "it is all there" : "it is empty");
            return 0;
        }
    "#;
    compile(&["-oreads"], program, dir.path());
    let memory = protocol::shared_memory::directory(protocol::shared_memory::ARCHIVE_SLOT);
    let options = ["--accel", "tcg"];
    let mut exec = exec(
        dir.path(),
        &options,
        &["./reads", &format!("{memory}/resource2")],
    );
    let output = exec.output().unwrap();
    assert_said(&output, 0, &[]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "it is empty\n");
}

/// The crate `examples/in_vm`, by the steps of its documentation.
fn cargo_test(arguments: &[&str]) -> Output {
    let runner = format!("{} exec --kernel 5.10 --", env!("CARGO_BIN_EXE_harness"));
    Command::new(env!("CARGO"))
        .args(["test", "-p", "in_vm", "--features", "vm", "--test", "opens"])
        .args(arguments)
        .env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER", runner)
        .current_dir(crate::support::workspace())
        .output()
        .unwrap()
}

#[test]
fn exec_as_cargo_runner_reports_test_failures() {
    let output = cargo_test(&[]);
    assert_said(&output, 0, &[]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("1 passed; 0 failed; 1 ignored"), "{said}");

    let output = cargo_test(&["--", "--ignored"]);
    assert_eq!(output.status.code(), Some(101));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("0 passed; 1 failed") && said.contains("the open was counted"),
        "{said}"
    );
}

#[test]
fn kernel_panic_in_exec_exits_125() {
    let output = here(&[
        "sh",
        "-c",
        "echo before; sleep 2; echo c >/proc/sysrq-trigger",
    ]);
    assert_eq!(output.stdout, b"before\n");
    let parts = [
        "error: the kernel panicked: sysrq triggered crash",
        "console: ",
    ];
    assert_said(&output, 125, &parts);
}

#[test]
fn program_is_killed_at_its_limit_with_its_children() {
    let mut exec = exec(
        Path::new("/"),
        &["--timeout", "3"],
        &["sh", "-c", "echo begun; sleep 99 & wait"],
    );
    let output = exec.output().unwrap();
    assert_eq!(output.stdout, b"begun\n");
    assert_said(
        &output,
        124,
        &["error: the program was still running after 3 s"],
    );
}

#[test]
fn commands_that_cannot_run_fail_before_booting() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("plain"), "").unwrap();
    let elf = fs::read("/bin/true").unwrap();
    for (name, byte) in [("other_machine", 183), ("broken", 62)] {
        let mut bytes = elf.clone();
        bytes[18] = byte;
        bytes.truncate(if name == "broken" { 100 } else { usize::MAX });
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    for (options, command, status, said) in [
        (
            &[][..],
            "no-such-program",
            127,
            "error: `no-such-program` is not found",
        ),
        (
            &[],
            "./no-such-program",
            127,
            "`./no-such-program` is not found",
        ),
        (
            &[],
            "./plain",
            126,
            "`./plain` cannot be run: it is not executable",
        ),
        (&[], "/", 126, "`/` cannot be run: it is not a file"),
        (
            &[],
            "./other_machine",
            126,
            "for another machine (ELF machine 183)",
        ),
        (&[], "./broken", 126, "it is damaged"),
        (&["--file", "no-such-file"], "true", 125, "cannot read"),
        (
            &["--file", "plain:/proc/x"],
            "true",
            125,
            "/proc/x cannot be copied into the VM",
        ),
        (&["--env", "=x"], "true", 2, "a variable needs a name"),
        (
            &["--module", "no_such_module"],
            "true",
            125,
            "no_such_module",
        ),
        (&["--kernel", "1.0"], "true", 2, "1.0"),
    ] {
        let mut exec = harness(&["exec"]);
        if !options.contains(&"--kernel") {
            exec.args(["--kernel", "5.10"]);
        }
        // A QEMU that fails at once.
        exec.env("QEMU", "/bin/false");
        let output = exec
            .args(options)
            .arg("--")
            .arg(command)
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert_said(&output, status, &[said]);
    }
}

/// A VM from a template has the same environment as one that booted.
#[test]
fn vm_from_a_template_has_the_same_environment_as_a_booted_one() {
    const LOOK: &str = "umask; cut -d ' ' -f 1-3 /proc/mounts; cat /sys/class/net/lo/flags; \
        readlink /dev/fd /etc/mtab; stat -c '%n %A' /tmp /dev/null /dev/console";
    let look = |options: &[&str]| {
        let output = exec(Path::new("/"), options, &["sh", "-c", LOOK]).output();
        let output = output.unwrap();
        assert_said(&output, 0, &[]);
        String::from_utf8(output.stdout).unwrap()
    };
    let (saved, booted) = (look(&[]), look(&["--no-template"]));
    assert_eq!(saved, booted);
    for there in ["0022\n", " /sys/fs/bpf bpf", "0x9\n", "/tmp drwxrwxrwt"] {
        assert!(saved.contains(there), "no `{there}` in\n{saved}");
    }
}
