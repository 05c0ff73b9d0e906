//! The checks that must pass before a change lands.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use xshell::{Shell, cmd};

use crate::fuzz;

/// The tests that boot kernels and open a browser.
const FEATURES: [&str; 2] = ["--features", "harness/vm-tests,harness/browser-tests"];

/// What to leave out.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Seconds of fuzzing for each fuzz target
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    fuzz_seconds: u32,
}

pub(crate) fn run(shell: &Shell, args: &Args) -> Result<()> {
    let mut steps = Steps::default();
    steps.begin("format");
    cmd!(shell, "cargo fmt --all --check").run()?;

    steps.begin("lints");
    cmd!(
        shell,
        "cargo clippy --workspace --all-targets --all-features --locked -- -D warnings"
    )
    .run()?;

    steps.begin("documentation");
    cmd!(shell, "cargo doc --workspace --no-deps --locked --quiet")
        .env("RUSTDOCFLAGS", "-D warnings")
        .run()?;

    steps.begin("tests");
    cmd!(shell, "cargo test --workspace --locked {FEATURES...}").run()?;

    steps.begin("arm64");
    arm64(shell)?;

    steps.begin("package");
    cmd!(
        shell,
        "cargo publish --dry-run --locked --allow-dirty --quiet -p fexit"
    )
    .run()?;

    steps.begin("fuzzing");
    fuzz::run(shell, &fuzz::Args::seconds(args.fuzz_seconds)).context("fuzzing")?;
    steps.end();
    Ok(())
}

/// Runs the tests with kernels of arm64, if the harness has a guest for them.
fn arm64(shell: &Shell) -> Result<()> {
    // `cargo run -p harness` would build it again, with fewer features of its dependencies.
    let target = shell.var_os("CARGO_TARGET_DIR");
    let harness = Path::new(&target.unwrap_or_else(|| "target".into())).join("debug/harness");
    let one = ["--kernel", "6.12:arm64", "--scenario", "attach"];
    let tried = cmd!(shell, "{harness} {one...}").ignore_status().output()?;
    if String::from_utf8_lossy(&tried.stderr).contains("built without a guest") {
        eprintln!(
            "NOT RUN: the harness has no guest for arm64; `ci/setup --arm64` installs what its build needs"
        );
        return Ok(());
    }
    let tests = ["--test", "it", "--", "--ignored", "vm_arm64"];
    cmd!(
        shell,
        "cargo test --workspace --locked {FEATURES...} {tests...}"
    )
    .run()?;
    Ok(())
}

/// Prints the name of each step, and how long it took.
#[derive(Default)]
struct Steps {
    current: Option<(&'static str, Instant)>,
}

impl Steps {
    fn begin(&mut self, name: &'static str) {
        self.end();
        eprintln!("\n== {name}");
        self.current = Some((name, Instant::now()));
    }

    fn end(&mut self) {
        if let Some((name, started)) = self.current.take() {
            eprintln!("== {name} took {} s", started.elapsed().as_secs());
        }
    }
}
