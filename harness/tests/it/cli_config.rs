//! `harness.toml` in a project: how it is found, and how its errors look.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path};

use crate::support::{Ran, harness, run};

fn list_in(folder: &Path, args: &[&str]) -> Ran {
    run(harness(&[&["list"], args].concat()).current_dir(folder))
}

#[test]
fn nearest_file_above_the_current_folder_counts() {
    let project = tempfile::tempdir().unwrap();
    let deep = project.path().join("src/deep");
    fs::create_dir_all(&deep).unwrap();
    let file = project.path().join("harness.toml");
    fs::write(&file, "[list]\nscenario = \"attach_twice\"\n").unwrap();
    for folder in [project.path(), &deep] {
        let ran = list_in(folder, &[]);
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        assert!(ran.stdout.contains("attach_twice") && !ran.stdout.contains("unload"));
    }
    let all = list_in(&deep, &["--no-config"]);
    assert!(all.stdout.contains("unload"), "{}", all.stdout);
    let other = list_in(&deep, &["--scenario", "unload"]);
    assert!(!other.stdout.contains("attach_twice"), "{}", other.stdout);

    fs::write(deep.join("harness.toml"), "[list]\nscenario = \"unload\"\n").unwrap();
    assert!(!list_in(&deep, &[]).stdout.contains("attach_twice"));
    let named = list_in(&deep, &["--config", "../../harness.toml"]);
    assert!(named.stdout.contains("attach_twice"), "{}", named.stdout);
}

#[test]
fn error_in_the_file_is_a_usage_error_of_every_command() {
    let project = tempfile::tempdir().unwrap();
    let folder = project.path();
    fs::write(
        folder.join("harness.toml"),
        "timeout = 5\nkernls = \"5.10\"\n",
    )
    .unwrap();
    for args in [&["list"][..], &["--kernel", "5.10"], &["kernels", "list"]] {
        let ran = run(harness(args).current_dir(folder));
        ran.one_error(2, &["harness.toml:2", "`kernls`", "did you mean kernel"]);
        assert_eq!(ran.stdout, "");
    }
    fs::write(folder.join("harness.toml"), "kernel = \"5.10\"\njobs = 0\n").unwrap();
    let ran = run(harness(&["run"]).current_dir(folder));
    ran.one_error(2, &["'0'", "--jobs is set in", "harness.toml:2"]);
    let ran = run(harness(&["list", "--config", "none.toml"]).current_dir(folder));
    ran.one_error(2, &["cannot read none.toml"]);
}

#[test]
fn file_alone_can_start_a_run() {
    let project = tempfile::tempdir().unwrap();
    fs::write(project.path().join("harness.toml"), "kernel = \"4.19\"\n").unwrap();
    let ran = run(harness(&[]).current_dir(project.path()));
    ran.one_error(2, &["4.19", "the most similar is 5.4"]);
}

#[test]
fn profile_needs_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let ran = list_in(folder.path(), &["--profile", "ci"]);
    ran.one_error(2, &["--profile ci", "there is no harness.toml"]);
}
