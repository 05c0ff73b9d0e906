//! For tests of the command line: runs the real binary, and checks its output.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, and none uses all of this"
)]

pub(crate) mod engine;
pub(crate) mod objects;
pub(crate) mod stalled;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use harness::kernels::Options;
use serde_json::Value;

/// The real binary, without the environment variables of the tests.
pub(crate) fn harness(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
    for name in ["GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "QEMU"] {
        command.env_remove(name);
    }
    command.env("HARNESS_CACHE_DIR", cache_dir());
    command.args(args);
    command
}

/// The cache of all tests: below `target`, not the user's.
pub(crate) fn cache_dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache")
}

/// The QEMU for kernels of x86-64.
#[cfg(feature = "vm-tests")]
pub(crate) fn qemu() -> harness::vm::Qemu {
    harness::vm::Qemu::find(harness::kernels::Arch::X86_64, &cache_dir()).unwrap()
}

/// The kernels of the tests' cache.
pub(crate) fn kernel_options() -> Options {
    Options {
        cache_dir: Some(cache_dir()),
        ..Options::default()
    }
}

/// The same with a limit for the size of files, in blocks of 512 bytes, as on a full disk.
pub(crate) fn with_file_size_limit(args: &[&str], blocks: u32) -> Command {
    let shell = harness(&[]);
    let limit = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &limit]).arg(shell.get_program());
    for (name, value) in shell.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.args(args);
    command
}

/// A program that ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs it to its end.
pub(crate) fn run(command: &mut Command) -> Ran {
    command.output().expect("the harness").into()
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self {
            status: output.status.code().expect("an exit status"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

impl Ran {
    /// It ended with `status` and printed exactly one error, which contains all of `parts`.
    #[track_caller]
    pub(crate) fn one_error(&self, status: i32, parts: &[&str]) -> &Self {
        assert_eq!(self.status, status, "{}", self.stderr);
        let errors: Vec<_> = self
            .stderr
            .lines()
            .filter(|l| l.starts_with("error:"))
            .collect();
        assert_eq!(errors.len(), 1, "not one error:\n{}", self.stderr);
        self.says(parts)
    }

    /// All of `parts` are on stderr, and no panic of the harness.
    #[track_caller]
    pub(crate) fn says(&self, parts: &[&str]) -> &Self {
        for part in parts {
            assert!(
                self.stderr.contains(part),
                "no `{part}` in\n{}",
                self.stderr
            );
        }
        assert!(!self.stderr.contains("thread 'main'"), "{}", self.stderr);
        self
    }

    /// The report on stdout, validated by the schema.
    #[track_caller]
    pub(crate) fn report(&self) -> Value {
        valid(serde_json::from_str(&self.stdout).unwrap_or_else(|e| {
            panic!(
                "{e}; status {}\n{}\n{}",
                self.status, self.stdout, self.stderr
            )
        }))
    }
}

/// A report file, validated by the schema.
#[track_caller]
pub(crate) fn report_file(path: &Path) -> Value {
    valid(serde_json::from_slice(&fs::read(path).unwrap()).unwrap())
}

#[track_caller]
fn valid(report: Value) -> Value {
    if let Err(error) = validator().validate(&report) {
        panic!("{error} at {}", error.instance_path());
    }
    report
}

/// The published schema.
pub(crate) fn validator() -> jsonschema::Validator {
    let path = workspace().join("docs/report.schema.json");
    let schema: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    jsonschema::draft202012::new(&schema).unwrap()
}

/// The root of the workspace.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .unwrap()
}

/// Builds the tools of `examples/` and the program `examples/pin`, and says in which folder they are.
///
/// With the packages and the kinds of target of `cargo test --workspace`, for other features would compile all again.
#[cfg(feature = "vm-tests")]
pub(crate) fn build_programs() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(workspace());
    cargo.args(["build", "--quiet", "--locked", "--workspace"]);
    let bins = ["slowopen", "tcpconnect", "vfslat"].map(|tool| ["--bin", tool]);
    cargo.args(bins.concat()).args(["--example", "pin"]);
    assert!(
        cargo.status().unwrap().success(),
        "the programs do not build"
    );
    let harness = PathBuf::from(env!("CARGO_BIN_EXE_harness"));
    harness.parent().unwrap().to_owned()
}

/// Id, outcome and verdict of each scenario of a kernel of a report.
pub(crate) fn scenarios(report: &Value, kernel: usize) -> Vec<[String; 3]> {
    let list = report["kernels"][kernel]["scenarios"].as_array().unwrap();
    let text = |value: &'static str| move |s: &Value| s[value].as_str().unwrap().to_owned();
    list.iter()
        .map(|s| ["id", "outcome", "verdict"].map(|name| text(name)(s)))
        .collect()
}

/// Runs scenarios on 5.10 and returns the exit status and the report.
pub(crate) fn on_5_10(ids: &str, more: &[&str]) -> (i32, Value) {
    let ran = run(harness(&["--kernel", "5.10", "--scenario", ids]).args(more));
    (ran.status, ran.report())
}

/// The text at a JSON pointer, or none.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(|value| value.as_str())
        .unwrap_or_default()
}
