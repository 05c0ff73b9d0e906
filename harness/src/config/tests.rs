use std::{fs, path::Path, time::Duration};

use super::*;
use crate::cli::Command as Called;

/// Parses a command line with this file.
fn with(text: &str, args: &[&str]) -> Result<Cli, String> {
    let dir = tempfile::tempdir().unwrap();
    parse_in(dir.path(), text, args)
}

fn parse_in(dir: &Path, text: &str, args: &[&str]) -> Result<Cli, String> {
    let path = dir.join(NAME);
    fs::write(&path, text).unwrap();
    // After the names of commands, as people write it.
    let commands = args.iter().take_while(|arg| !arg.starts_with('-')).count();
    let mut all: Vec<OsString> = vec!["harness".into()];
    all.extend(args[..commands].iter().map(OsString::from));
    all.extend(["--config".into(), path.into()]);
    all.extend(args[commands..].iter().map(OsString::from));
    parse(&all).map_err(|refused| match refused {
        Refused::File(error) => format!("{error:#}"),
        Refused::Arguments(error, notes) => format!("{error}{}", notes.join("\n")),
    })
}

const PROJECT: &str = r#"
kernel = ["5.10", "6.1"]
object = "build/prog.bpf.o"
target = ["on_exit=vfs_read"]
trigger = "ls /"
trigger-timeout = 5
timeout = 300
serial = true

[profile.ci]
kernel = "all"
junit = "junit.xml"
serial = false

[profile.ci.exec]
cpus = 4

[exec]
kernel = "6.1"
env = ["RUST_LOG=debug"]

[kernels.fetch]
cache-dir = "kernels"
"#;

#[test]
fn settings_of_a_run_are_at_the_top_and_relative_to_the_file() {
    let dir = tempfile::tempdir().unwrap();
    for command in [&[][..], &["run"]] {
        let cli = parse_in(dir.path(), PROJECT, command).unwrap();
        let run = match cli.command {
            Some(Called::Run(run)) => *run,
            _ => cli.run,
        };
        assert_eq!(run.kernels, ["5.10", "6.1"]);
        assert_eq!(run.objects.objects, [dir.path().join("build/prog.bpf.o")]);
        assert_eq!(run.objects.targets, ["on_exit=vfs_read"]);
        assert_eq!(run.objects.trigger_timeout, Duration::from_secs(5));
        assert_eq!(run.options.timeout, Duration::from_secs(300));
        assert!(run.options.serial);
    }
}

#[test]
fn command_line_overrides_the_file_option_by_option() {
    let args = ["--kernel", "7.3", "--no-serial", "--timeout=9"];
    let run = with(PROJECT, &args).unwrap().run;
    assert_eq!(run.kernels, ["7.3"]);
    assert_eq!(run.options.timeout, Duration::from_secs(9));
    assert!(!run.options.serial);
    assert_eq!(run.objects.trigger.as_deref(), Some("ls /"));
    // An option that excludes one of the file.
    let exec = ["exec", "--kernel-image", "/boot/vmlinuz", "true"];
    let Some(Called::Exec(exec)) = with(PROJECT, &exec).unwrap().command else {
        panic!("not exec");
    };
    assert_eq!(exec.vm.kernel, None);
}

#[test]
fn profile_replaces_settings_and_unknown_profile_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let run = parse_in(dir.path(), PROJECT, &["--profile", "ci"])
        .unwrap()
        .run;
    assert_eq!(run.kernels, ["all"]);
    assert_eq!(run.outputs.junit, Some(dir.path().join("junit.xml")));
    assert!(!run.options.serial);
    assert_eq!(run.options.timeout, Duration::from_secs(300));
    let error = with(PROJECT, &["--profile", "c"]).unwrap_err();
    assert!(error.ends_with("has no profile `c`; it has ci"), "{error}");
}

#[test]
fn table_is_a_command_and_its_arguments_stay_those_of_the_program() {
    let args = [
        "exec",
        "--profile=ci",
        "--",
        "./test",
        "--kernel",
        "no kernel",
    ];
    let Some(Called::Exec(exec)) = with(PROJECT, &args).unwrap().command else {
        panic!("not exec");
    };
    assert_eq!(exec.vm.kernel.as_deref(), Some("6.1"));
    assert_eq!(
        (exec.vm.cpus, exec.vm.environment),
        (4, vec!["RUST_LOG=debug".into()])
    );
    assert_eq!(exec.command, ["./test", "--kernel", "no kernel"]);
}

#[test]
fn wrong_settings_are_refused_with_file_line_and_similar_names() {
    for (text, parts) in [
        (
            "a = 1\n\nkernl = \"5.10\"",
            &["harness.toml:3", "`kernl`", "did you mean kernel"][..],
        ),
        (
            "[exec]\nkernels = \"6.1\"",
            &["harness.toml:2", "`kernels`", "kernel"],
        ),
        (
            "[profile.ci]\njob = 4",
            &["harness.toml:2", "`job`", "jobs"],
        ),
        (
            "[exce]\nkernel = \"6.1\"",
            &["harness.toml:1", "`exce`", "exec"],
        ),
        (
            "[run]\nkernel = \"6.1\"",
            &["harness.toml:1", "at the top of the file"],
        ),
        ("profile = 1", &["harness.toml:1", "`profile`"]),
        (
            "profile.ci = 1",
            &["harness.toml:1", "`ci` must be a table"],
        ),
        (
            "serial = \"yes\"",
            &["harness.toml:1", "`serial` must be true or false"],
        ),
        (
            "timeout = true",
            &["harness.toml:1", "`timeout` must be a string or a number"],
        ),
        ("config = \"other\"", &["harness.toml:1", "`config`"]),
        (
            "[exec]\nqemu-arg = \"-s\"",
            &["harness.toml:2", "`qemu-arg`", "command line only"],
        ),
        ("kernel = [", &["harness.toml", "line 1"]),
    ] {
        let text = text.replace("a = 1", "jobs = 1");
        let error = with(&text, &["--kernel", "6.1"]).unwrap_err();
        for part in parts {
            assert!(error.contains(part), "no `{part}` in {error}");
        }
    }
}

#[test]
fn values_are_checked_as_arguments_are_and_the_error_names_the_line() {
    for (text, parts) in [
        ("\njobs = 0", ["'0'", "--jobs is set in", "harness.toml:2"]),
        (
            "accel = \"xen\"",
            ["'xen'", "--accel is set in", "harness.toml:1"],
        ),
        (
            "icount = true\naccel = \"tcg\"",
            ["cannot be used with", "--accel is set in", "harness.toml:2"],
        ),
        ("trigger = \"ls\"", ["--object", "not provided", "--object"]),
    ] {
        let error = with(text, &["--kernel", "6.1"]).unwrap_err();
        for part in parts {
            assert!(error.contains(part), "no `{part}` in {error}");
        }
    }
    // What the command line says is not blamed on the file.
    let error = with("jobs = 2", &["--kernel", "6.1", "--jobs", "0"]).unwrap_err();
    assert!(!error.contains("is set in"), "{error}");
}

#[test]
fn file_can_be_left_out() {
    let parse = |args: &[&str]| parse(&args.iter().map(OsString::from).collect::<Vec<_>>());
    let cli = parse(&["harness", "--no-config", "--kernel", "6.1"]).unwrap();
    assert_eq!(cli.run.kernels, ["6.1"]);
    let Err(Refused::Arguments(error, _)) = parse(&["harness", "--no-config", "--profile", "ci"])
    else {
        panic!("a profile without a file");
    };
    assert!(error.to_string().contains("cannot be used with"), "{error}");
}
