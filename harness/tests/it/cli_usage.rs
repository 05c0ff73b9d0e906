//! What the user can mend: one clear error each, exit status 2, and nothing started.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, process::Stdio};

use crate::support::{harness, run, workspace};

/// Runs the harness so that it cannot get as far as a VM: wrong usage must be found before.
#[track_caller]
fn refused(args: &[&str], parts: &[&str]) {
    let ran = run(harness(args).env("QEMU", "/nowhere/qemu"));
    ran.one_error(2, parts);
    assert_eq!(ran.stdout, "", "there is no report of a wrong usage");
}

#[test]
fn without_arguments_it_shows_its_help() {
    // clap takes a variable that is set for an argument.
    let ran = run(harness(&[]).env_remove("HARNESS_CACHE_DIR"));
    assert_eq!((ran.status, ran.stdout.as_str()), (2, ""));
    ran.says(&["Usage: harness", "--kernel", "Exit status:"]);
}

#[test]
fn flags_that_do_not_exist_or_make_no_sense() {
    refused(
        &["--kernels", "5.10"],
        &["unexpected argument '--kernels'", "'--kernel'"],
    );
    refused(
        &["--scenario", "attach"],
        &["required", "--kernel <KERNEL>"],
    );
    refused(
        &["--kernel", "5.10", "--timeout", "0"],
        &["'0'", "--timeout", "at least 1 second"],
    );
    refused(
        &["--kernel", "5.10", "--accel", "xen"],
        &["'xen'", "auto, kvm, tcg"],
    );
    refused(&["--kernel", "5.10", "--jobs", "0"], &["'0'", "--jobs"]);
    refused(
        &["--kernel", "5.10", "--max-vms", "0"],
        &["'0'", "--max-vms"],
    );
    refused(&["compare", "only-one.json"], &["required", "<NEW>"]);
    refused(&["cache", "prune"], &["required", "--max-size"]);
    refused(
        &["cache", "prune", "--max-size", "lots"],
        &["'lots'", "--max-size", "unit"],
    );
    refused(&["launch"], &["launch"]);
    let veristat = ["veristat", "a.bpf.o", "--kernel", "5.10"];
    refused(
        &[&veristat[..], &["--sort", "insns,weight"]].concat(),
        &[
            "'weight'",
            "--sort",
            "no field `weight`",
            "insns, insns_left",
        ],
    );
    refused(&veristat, &["a.bpf.o", "No such file"]);
    refused(&veristat[..2], &["required", "--kernel <KERNEL>"]);
}

#[test]
fn parts_of_a_run_that_do_not_exist() {
    let kernel = ["--kernel", "5.10"];
    for (args, parts) in [
        (["--shard", "4/3"], ["'4/3'", "1/3 to 3/3"]),
        (["--shard", "two"], ["'two'", "K/N"]),
        (["--repeat", "0"], ["'0'", "--repeat"]),
        (["--retries", "-1"], ["-1", "unexpected"]),
        (["--rerun-failed", "/nowhere"], ["cannot read", "/nowhere"]),
    ] {
        refused(&[&kernel[..], &args].concat(), &parts);
    }
    let both = ["--rerun-failed", "a.json", "--shard", "1/2"];
    refused(&both, &["--shard", "--rerun-failed", "cannot be used with"]);
}

#[test]
fn kernels_that_do_not_exist() {
    refused(&["--kernel", "4.19"], &["4.19", "the most similar is 5.4"]);
    refused(&["--kernel", "5.10,newest"], &["newest", "5.10", "latest"]);
    refused(&["--kernel", "8.*"], &["8.*"]);
    refused(&["--kernel", ""], &["no kernel is named"]);
}

#[test]
fn scenarios_that_do_not_exist() {
    refused(
        &["--kernel", "5.10", "--scenario", "atach_twice"],
        &["`atach_twice`", "did you mean attach_twice", "--list"],
    );
    refused(
        &["--kernel", "5.10", "--scenario", "[a"],
        &["`[a`", "not a pattern"],
    );
    refused(&["--list", "--scenario", "nothing*"], &["`nothing*`"]);
}

#[test]
fn files_that_cannot_be_written_or_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let kernel = ["--kernel", "5.10"];
    for option in ["--output", "--junit", "--markdown"] {
        let missing = path("missing/report");
        refused(
            &[&kernel[..], &[option, &missing]].concat(),
            &["cannot write", &missing],
        );
        let folder = path("");
        refused(
            &[&kernel[..], &[option, &folder]].concat(),
            &["cannot write", &folder],
        );
    }
    for option in ["--baseline", "--matrix"] {
        let missing = path("missing");
        refused(
            &[&kernel[..], &[option, &missing]].concat(),
            &["cannot read", &missing],
        );
    }
    let text = path("text");
    fs::write(&text, "no report").unwrap();
    refused(
        &[&kernel[..], &["--baseline", &text]].concat(),
        &[&text, "not a report"],
    );
    refused(&["compare", &text, &text], &[&text, "not a report"]);
    refused(
        &["report", &path("missing")],
        &["cannot read", &path("missing")],
    );
    refused(&[&kernel[..], &["--matrix", &text]].concat(), &[&text]);
    let keep = format!("{text}/keep");
    refused(
        &[&kernel[..], &["--keep", &keep]].concat(),
        &["--keep", &keep],
    );
}

#[test]
fn summary_outside_github_actions_is_a_usage_error() {
    refused(
        &["--kernel", "5.10", "--summary"],
        &["GITHUB_STEP_SUMMARY", "--markdown"],
    );
}

#[test]
fn list_shows_scenarios_and_kernels_and_hides_the_selftests() {
    let ran = run(&mut harness(&["--list"]));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    for line in ["attach_twice", "5.10", "7.3"] {
        assert!(ran.stdout.contains(line), "no {line} in\n{}", ran.stdout);
    }
    assert!(!ran.stdout.contains("selftest"), "{}", ran.stdout);
}

#[test]
fn list_names_every_kernel_of_the_matrix_and_no_other() {
    let text = fs::read_to_string(workspace().join("kernels/kernels.toml")).unwrap();
    let matrix: toml::Value = toml::from_str(&text).unwrap();
    let series = matrix["series"].as_array().unwrap();
    let mut names = Vec::new();
    for series in series {
        let x86_64 = vec![toml::Value::from("x86_64")];
        let arches = series
            .get("arch")
            .map_or(&x86_64, |all| all.as_array().unwrap());
        for name in series["names"].as_array().unwrap() {
            names.extend(arches.iter().map(|arch| match arch.as_str().unwrap() {
                "x86_64" => name.as_str().unwrap().to_owned(),
                arch => format!("{}:{arch}", name.as_str().unwrap()),
            }));
        }
    }
    names.sort_unstable();

    let ran = run(&mut harness(&["kernels", "list", "--json"]));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let listed: Vec<serde_json::Value> = serde_json::from_str(&ran.stdout).unwrap();
    let mut listed: Vec<_> = listed
        .iter()
        .map(|kernel| kernel["name"].as_str().unwrap())
        .collect();
    listed.sort_unstable();
    assert_eq!(listed, names);
    let ran = run(&mut harness(&["kernels", "list", "all", "--json"]));
    assert_eq!(ran.stdout.lines().count(), 1, "a job matrix takes one line");
    let all: Vec<serde_json::Value> = serde_json::from_str(&ran.stdout).unwrap();
    assert!(
        all.iter().any(|kernel| kernel["kernel"] == "5.10"),
        "{all:?}"
    );
    assert!(all.iter().all(|kernel| kernel["in_all"] == true), "{all:?}");
    for command in [&["kernels", "list"][..], &["--list"]] {
        let ran = run(&mut harness(command));
        for name in &names {
            let line = |line: &str| line.split_whitespace().next() == Some(name.as_str());
            assert!(ran.stdout.lines().any(line), "no {name} in\n{}", ran.stdout);
        }
    }
}

#[test]
fn invalid_kernel_image_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("text").display().to_string();
    refused(&["--kernel-image", &text], &[&text]);
    fs::write(&text, "no kernel").unwrap();
    refused(&["--kernel-image", &text], &[&text]);
    refused(
        &["--kernel", "5.10", "--modules", &text],
        &["--kernel-image"],
    );
}

#[test]
fn kernel_arguments_that_the_harness_needs_cannot_be_appended() {
    for command in [&["run"][..], &["exec"], &["shell"]] {
        for (append, why) in [
            ("console=tty0", "`console` cannot be changed"),
            ("nokaslr init=/bin/sh", "`init` cannot be changed"),
            ("", "it is empty"),
        ] {
            let options = ["--kernel", "5.10", "--append", append];
            let program: &[&str] = if command == ["exec"] { &["true"] } else { &[] };
            refused(&[command, &options, program].concat(), &["--append", why]);
        }
    }
}

#[test]
fn tty_without_a_terminal() {
    let exec = ["exec", "--kernel", "5.10", "-t", "--", "bash"];
    let ran = run(harness(&exec)
        .env("QEMU", "/nowhere/qemu")
        .stdin(Stdio::null()));
    ran.one_error(2, &["--tty", "stdin is not a terminal", "--stdin"]);
}

#[test]
fn copies_out_of_the_vm_that_have_no_place() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().display().to_string();
    for (out, why) in [
        ("/only-one", "must be GUEST:HOST"),
        (&format!("/x:{folder}"), "is a folder"),
    ] {
        refused(
            &["exec", "--kernel", "5.10", "--out", out, "true"],
            &["--out", why],
        );
    }
}

#[test]
fn debugger_for_more_than_one_kernel_or_with_a_time_limit() {
    let exec = |kernel, more: &[&'static str]| {
        [&["exec", "--kernel", kernel, "--gdb"][..], more, &["true"]].concat()
    };
    refused(&exec("all", &[]), &["--kernel all matches", "name one"]);
    refused(
        &exec("5.10", &["--timeout", "9"]),
        &["--timeout", "--gdb", "cannot be used with"],
    );
    refused(
        &["--kernel", "5.10", "--gdb"],
        &["unexpected argument '--gdb'"],
    );
}

#[test]
fn mounts_that_are_no_folders() {
    for (mount, why) in [
        ("/nowhere/at/all", "HOST must be a folder"),
        ("/etc:data", "GUEST must be an absolute path"),
        ("/etc:/", "other than `/`"),
        ("/etc:/a:/b", "HOST[:GUEST][:ro]"),
    ] {
        refused(
            &["exec", "--kernel", "5.10", "--mount", mount, "true"],
            &["--mount", why],
        );
    }
}
