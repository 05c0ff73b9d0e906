//! Kernels of arm64. `cargo xtask check` runs these tests if the harness has a guest for arm64; by hand:
//! `cargo test -p harness --features vm-tests --test it -- --ignored vm_arm64`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::PathBuf, process::Command};

use crate::support::objects::compile;
use crate::support::{harness, run, text};
use serde_json::Value;

const OBJECT: &str = r#"
    SEC("fexit/vfs_read") int on_read(u64 *ctx) { return 0; }
    SEC("kprobe/vfs_read") int probe(void *ctx) { return 0; }
"#;

/// 6.1 is below the minimum of fexit on arm64, 6.12 above it.
#[test]
#[ignore = "needs a guest for arm64"]
fn all_scenarios_pass_or_are_refused_as_expected_on_both_sides_of_the_minimum() {
    let ran = run(&mut harness(&["--kernel", "6.1,6.12", "--arch", "arm64"]));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let report = ran.report();
    for (number, outcome) in [(0, "unsupported"), (1, "passed")] {
        let kernel = &report["kernels"][number];
        assert_eq!(kernel["arch"], "arm64");
        let scenarios = kernel["scenarios"].as_array().unwrap();
        let attach = scenarios.iter().find(|one| one["id"] == "attach").unwrap();
        assert_eq!(attach["outcome"], outcome, "{attach}");
    }
    let minimums = report["minimums"].as_array().unwrap();
    let fexit = minimums.iter().find(|one| one["feature"] == "fexit");
    let fexit = fexit.unwrap();
    assert_eq!(fexit["arch"], "arm64");
    assert_eq!(fexit["claimed"], "6.4");
    assert_eq!(fexit["confirmed"], "both", "{fexit}");
}

#[test]
#[ignore = "needs a guest for arm64"]
fn minimum_boots_kernels_of_one_architecture_and_agrees_with_inspect() {
    let dir = tempfile::tempdir().unwrap();
    let object = compile(dir.path(), "minimum", OBJECT).display().to_string();
    let search = ["minimum", "--json", "--object", &object, "--kernel"];
    let ran = run(harness(&search).args(["6.1,6.12,7.3", "--arch", "arm64"]));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let found: Value = serde_json::from_str(&ran.stdout).unwrap();
    let inspect = [
        "inspect",
        "--json",
        &object,
        "--kernel",
        "6.1:arm64,6.12:arm64",
    ];
    let told = run(&mut harness(&inspect)).stdout;
    let told: Value = serde_json::from_str(&told).unwrap();
    for (program, oldest, verdict) in [
        ("on_read", "6.12:arm64", "not-attached"),
        ("probe", "6.1:arm64", "fine"),
    ] {
        let named = |list: &Value, field: &str| {
            let list = list.as_array().unwrap();
            list.iter()
                .find(|one| one[field] == program)
                .unwrap()
                .clone()
        };
        let found = named(&found["programs"], "program");
        assert_eq!(found["oldest"]["kernel"], oldest, "{found}");
        let told = named(&told["objects"][0]["programs"], "name");
        assert_eq!(text(&told, "/kernels/0/verdict"), verdict);
        assert_eq!(text(&told, "/kernels/1/verdict"), "fine");
    }
    let both = run(harness(&search).args(["6.12", "--arch", "x86_64,arm64"]));
    both.one_error(2, &["two architectures", "--arch arm64"]);
}

/// A static program for arm64 that prints the machine and fails with 7.
fn program(dir: &std::path::Path) -> PathBuf {
    let (source, program) = (dir.join("program.c"), dir.join("program"));
    let text = "#include <stdio.h>\n#include <sys/utsname.h>\n\
                int main(void) { struct utsname u; uname(&u); puts(u.machine); return 7; }\n";
    fs::write(&source, text).unwrap();
    let mut compiler = Command::new("aarch64-linux-gnu-gcc");
    let status = compiler
        .arg("-static")
        .arg(&source)
        .arg("-o")
        .arg(&program)
        .status();
    assert!(status.unwrap().success());
    program
}

#[test]
#[ignore = "needs a guest for arm64"]
fn exec_and_shell_run_programs_of_arm64_and_refuse_others() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path()).display().to_string();
    let exec = ["exec", "--kernel", "6.12:arm64", "--"];
    let ran = run(harness(&exec).arg(&program));
    assert_eq!(
        (ran.status, ran.stdout.as_str()),
        (7, "aarch64\n"),
        "{}",
        ran.stderr
    );
    let refused = ["another machine", "arm64", "PATH"];
    run(harness(&exec).arg("true")).one_error(126, &refused);
    run(&mut harness(&["shell", "--kernel", "6.12:arm64"])).one_error(126, &refused);
    // This machine cannot run it, and an x86-64 VM cannot either.
    run(harness(&["exec", "--kernel", "6.12:amd64", "--"]).arg(&program))
        .one_error(126, &["another machine", "x86_64"]);
}
