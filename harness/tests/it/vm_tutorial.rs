//! `docs/tutorial.md`, done from its beginning to its end in an empty folder.
//!
//! A block of code is a file if its info string has a second word, the file's path; commands if it is `sh`, with the
//! exit status after `status=` if that is not 0; and the output of these commands if it is `text`, where `...` means
//! anything.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{env, fs, path::Path, process::Command};

use crate::support::{cache_dir, workspace};

/// The info string and the text of each block of code.
fn blocks(page: &str) -> Vec<(&str, String)> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let text: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push((info, text.join("\n") + "\n"));
        }
    }
    blocks
}

/// Runs the commands, and returns all that they print.
fn run(dir: &Path, commands: &str, status: i32) -> String {
    let bin = Path::new(env!("CARGO_BIN_EXE_harness")).parent().unwrap();
    let mut path = bin.as_os_str().to_owned();
    path.push(":");
    path.push(env::var_os("PATH").unwrap());
    let output = Command::new("sh")
        .args(["-euc", &format!("exec 2>&1\n{commands}")])
        .current_dir(dir)
        .env("PATH", path)
        .env("HARNESS_CACHE_DIR", cache_dir())
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(status), "{commands}\n{text}");
    text
}

/// Whether a line of `output` has the parts of `line` between `...`, in order.
fn has_line(output: &str, line: &str) -> bool {
    output.lines().any(|mut rest| {
        line.split("...").map(str::trim).all(|part| {
            let Some(at) = rest.find(part) else {
                return false;
            };
            rest = &rest[at + part.len()..];
            true
        })
    })
}

#[test]
fn tutorial_works_as_written() {
    let page = fs::read_to_string(workspace().join("docs/tutorial.md")).unwrap();
    let here = format!(
        "path = {:?}",
        workspace().join("fexit").canonicalize().unwrap()
    );
    let dir = tempfile::tempdir().unwrap();
    let mut output = String::new();
    let mut commands = 0;
    for (info, text) in blocks(&page) {
        let mut words = info.split(' ');
        match (words.next().unwrap(), words.next()) {
            ("sh", status) => {
                let status =
                    status.map_or(0, |s| s.strip_prefix("status=").unwrap().parse().unwrap());
                output = run(dir.path(), &text, status);
                commands += 1;
            }
            ("text", None) => {
                for line in text.lines() {
                    assert!(has_line(&output, line), "no line `{line}` in\n{output}");
                }
            }
            ("console", None) => {} // the installation
            (_, Some(path)) => {
                let path = dir.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                // The library of this tree, not the published one.
                let text = text.replace("git = \"https://github.com/fexit-rs/fexit\"", &here);
                fs::write(path, text).unwrap();
            }
            (kind, None) => panic!("a block of the kind `{kind}` without a path"),
        }
    }
    assert_eq!(commands, 5);
}
