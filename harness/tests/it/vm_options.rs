//! The options that add something to a VM, which docs/vm.md describes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
};

use crate::support::{Ran, harness, run};

/// `harness exec` on 5.10, with options in front of the command.
pub(crate) fn exec(options: &[&str], command: &[&str]) -> Command {
    let mut exec = harness(&["exec", "--kernel", "5.10"]);
    exec.args(options).arg("--").args(command);
    exec
}

#[track_caller]
fn works(options: &[&str], command: &[&str]) -> Ran {
    let ran = run(&mut exec(options, command));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    ran
}

#[test]
fn appended_kernel_arguments_are_in_effect_with_and_without_a_template() {
    let options = ["--append", "loglevel=7 mine=1", "--append=panic_on_warn=1"];
    let script = "cat /proc/cmdline /proc/sys/kernel/panic_on_warn";
    for more in [&[][..], &["--no-template"]] {
        let ran = works(&[&options, more].concat(), &["sh", "-c", script]);
        let appended = " loglevel=7 mine=1 panic_on_warn=1\n1\n";
        assert!(ran.stdout.ends_with(appended), "{}", ran.stdout);
    }
    let plain = works(&[], &["sh", "-c", script]).stdout;
    assert!(
        plain.ends_with("\n0\n") && !plain.contains("mine"),
        "{plain}"
    );

    let args = [
        "--kernel",
        "5.10",
        "--scenario",
        "attach",
        "--append",
        "mine=2",
    ];
    let ran = run(&mut harness(&args));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let report = ran.report();
    let line = report["kernels"][0]["command_line"].as_str().unwrap();
    assert!(line.ends_with(" mine=2"), "{line}");
}

#[test]
fn too_long_kernel_command_line_is_refused() {
    let long = format!("mine={}", "x".repeat(2000));
    let ran = run(&mut exec(&["--append", &long], &["true"]));
    ran.one_error(125, &["the kernel reads 2047", "shorten --append"]);
}

#[test]
fn qemu_gets_the_arguments_of_the_user_and_the_vm_boots() {
    let options = [
        "--qemu-arg",
        "-device",
        "--qemu-arg=virtio-rng-pci,addr=0x1f",
    ];
    let script = "cat /sys/bus/pci/devices/0000:00:1f.0/vendor";
    let ran = works(&options, &["sh", "-c", script]);
    assert_eq!(ran.stdout, "0x1af4\n");

    let args = ["--kernel", "5.10", "--scenario", "attach", "--accel", "tcg"];
    for (more, boot) in [(&options[..], "cold"), (&[], "template")] {
        let ran = run(&mut harness(&[&args[..], more].concat()));
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        let kernel = &ran.report()["kernels"][0];
        assert_eq!(kernel["boot"], boot);
        let command = kernel["qemu_command"].as_str().unwrap();
        let words = shlex::split(command).unwrap();
        assert_eq!(
            words.ends_with(&["-device", "virtio-rng-pci,addr=0x1f"].map(str::to_owned)),
            !more.is_empty()
        );
    }
}

#[test]
fn qemu_arguments_that_qemu_refuses_are_reported_in_its_words() {
    let options = ["--qemu-arg", "-device", "--qemu-arg", "no-such-device"];
    let ran = run(&mut exec(&options, &["true"]));
    ran.one_error(125, &["QEMU failed", "no-such-device"]);
}

#[test]
fn program_runs_in_the_working_directory_that_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("script");
    fs::write(&path, "#!/bin/sh\npwd\ncat data; touch new && ls\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(dir.path().join("data"), "data\n").unwrap();
    let here = dir.path().display();
    for (options, stdout) in [
        // A program with a relative path is found from the current folder, as always.
        (
            &["--workdir", "/new/folder"][..],
            "/new/folder\nnew\n".to_owned(),
        ),
        (
            &["-w", "gone/../sub", "--file", "data:sub/data"],
            format!("{here}/sub\ndata\ndata\nnew\n"),
        ),
    ] {
        let ran = run(exec(options, &["./script"]).current_dir(dir.path()));
        assert_eq!(ran.stdout, stdout, "{}", ran.stderr);
        assert_eq!(ran.status, 0);
    }
    assert_eq!(
        works(&["-w", "/sys/fs/bpf"], &["pwd"]).stdout,
        "/sys/fs/bpf\n"
    );
}

#[test]
fn working_directory_that_cannot_be_entered_is_an_error_of_the_program() {
    for (options, why) in [
        (&["-w", "/proc/none"][..], "No such file or directory"),
        (
            &["-w", "/data", "--file", "/etc/passwd:/data"],
            "Not a directory",
        ),
    ] {
        let ran = run(&mut exec(options, &["pwd"]));
        assert_eq!((ran.status, ran.stdout.as_str()), (126, ""));
        ran.says(&["cannot change to the working directory", options[1], why]);
    }
}

/// Three processes and one slot: no program begins before the one before it has ended.
#[test]
fn max_vms_holds_for_all_processes() {
    works(&[], &["true"]);
    let script = "echo begun; sleep 2; echo ended";
    let begin = |variable: bool| {
        let options: &[&str] = if variable { &[] } else { &["--max-vms", "1"] };
        let mut exec = exec(options, &["sh", "-c", script]);
        if variable {
            exec.env("HARNESS_MAX_VMS", "1");
        }
        exec.stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        exec.spawn().unwrap()
    };
    let mut processes: Vec<_> = [true, false, false].map(begin).into();
    let (sender, said) = mpsc::channel();
    for process in &mut processes {
        let (lines, sender) = (process.stdout.take().unwrap(), sender.clone());
        thread::spawn(move || {
            for line in BufReader::new(lines).lines() {
                sender.send(line.unwrap()).unwrap();
            }
        });
    }
    drop(sender);
    let said: Vec<_> = said.iter().collect();
    assert_eq!(said, ["begun", "ended"].repeat(3));
    let waited = processes.into_iter().map(|process| {
        let ran = Ran::from(process.wait_with_output().unwrap());
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        ran.stderr.contains("waiting: --max-vms 1")
    });
    // Other tests have the same cache, so that the first may have waited as well.
    assert!(waited.filter(|waited| *waited).count() >= 2);
}

#[test]
fn slot_of_a_killed_process_is_free_again() {
    works(&[], &["true"]);
    let options = ["--max-vms", "1"];
    let mut first = exec(&options, &["sh", "-c", "echo begun; sleep 1000"]);
    let mut first = first.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(first.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "begun\n");
    first.kill().unwrap();
    first.wait().unwrap();
    works(&options, &["true"]);
}

#[test]
fn kernels_of_a_run_wait_for_the_vms_of_others_too() {
    let args = [
        "--kernel",
        "5.10,6.1",
        "--jobs",
        "2",
        "--scenario",
        "attach",
        "--max-vms",
        "1",
    ];
    let ran = run(&mut harness(&args));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    ran.says(&["waiting: --max-vms 1"]);
}

#[test]
fn files_and_folders_are_copied_out_after_the_program_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let out = |guest: &str, name: &str| format!("--out={guest}:{}", path(name).display());
    let options = [
        out("new/folder", "folder"),
        out("large", "deep/large"),
        out("/proc/sys/kernel/ostype", "ostype"),
        out("/link", "file"),
        "--workdir=/elsewhere".to_owned(),
        "--timeout=100".to_owned(),
    ];
    let options: Vec<_> = options.iter().map(String::as_str).collect();
    let long = "n".repeat(200);
    let script = format!(
        "mkdir -p new/folder/{long}; echo content > new/folder/{long}/{long}; \
         ln -s /etc new/folder/etc; mkfifo new/folder/fifo; : > new/folder/empty; \
         chmod 4755 new/folder/empty; ln -s /elsewhere/new/folder/empty /link; \
         head -c 20000000 /dev/zero > large; echo end >> large; echo said; exit 3"
    );
    for accelerated in [&["--no-template"][..], &[]] {
        let options = [&options, accelerated].concat();
        let _ = fs::remove_dir_all(path("folder"));
        let ran = run(&mut exec(&options, &["sh", "-c", &script]));
        assert_eq!(
            (ran.status, ran.stdout.as_str()),
            (3, "said\n"),
            "{}",
            ran.stderr
        );
        ran.says(&["2 entries are neither files nor folders"]);
        let file = path("folder").join(&long).join(&long);
        assert_eq!(fs::read_to_string(file).unwrap(), "content\n");
        let mode = path("folder/empty")
            .metadata()
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7700, 0o700);
        assert_eq!(fs::read_dir(path("folder")).unwrap().count(), 2);
        let large = fs::read(path("deep/large")).unwrap();
        assert_eq!(large.len(), 20_000_004);
        assert!(large.ends_with(b"\0end\n"));
        assert_eq!(fs::read_to_string(path("ostype")).unwrap(), "Linux\n");
        assert_eq!(fs::read(path("file")).unwrap(), b"");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4);
    }
}

#[test]
fn missing_file_is_an_error_that_does_not_hide_the_exit_status() {
    let dir = tempfile::tempdir().unwrap();
    let out = |guest: &str, name: &str| format!("{guest}:{}", dir.path().join(name).display());
    let (none, file) = (out("/none", "none"), out("/etc/passwd", "passwd"));
    for (exit, status) in [("exit 0", 125), ("exit 3", 3), ("kill -9 $$", 137)] {
        let options = ["--out", &none, "--out", &file];
        let ran = run(&mut exec(&options, &["sh", "-c", exit]));
        ran.one_error(status, &["--out /none:", "No such file or directory"]);
        let passwd = fs::read_to_string(dir.path().join("passwd")).unwrap();
        assert!(passwd.starts_with("root:"), "{passwd}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
    let sparse = out("/sparse", "sparse");
    let ran = run(&mut exec(
        &["--out", &sparse],
        &["sh", "-c", "truncate -s 2T /sparse"],
    ));
    ran.one_error(125, &["/sparse", "more than 1073741824 bytes"]);
    // A program that is killed at its time limit.
    let options = ["--out", &file, "--timeout", "2"];
    let ran = run(&mut exec(&options, &["sleep", "100"]));
    assert_eq!(ran.status, 124);
    ran.says(&["after 2 s", "the VM ended before it was copied"]);
}
