//! The checks that must pass before a change lands.

use anyhow::{Context as _, Result};
use xshell::{Shell, cmd};

use crate::fuzz;

/// What to leave out.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Seconds of fuzzing for each fuzz target
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    fuzz_seconds: u32,
}

pub(crate) fn run(shell: &Shell, args: &Args) -> Result<()> {
    step("format");
    cmd!(shell, "cargo fmt --all --check").run()?;

    step("lints");
    cmd!(
        shell,
        "cargo clippy --workspace --all-targets --all-features --locked -- -D warnings"
    )
    .run()?;

    step("documentation");
    cmd!(shell, "cargo doc --workspace --no-deps --locked --quiet")
        .env("RUSTDOCFLAGS", "-D warnings")
        .run()?;

    step("tests");
    cmd!(
        shell,
        "cargo test --workspace --locked --features harness/vm-tests,harness/browser-tests"
    )
    .run()?;

    step("arm64");
    arm64(shell)?;

    step("package");
    cmd!(
        shell,
        "cargo publish --dry-run --locked --allow-dirty --quiet -p fexit"
    )
    .run()?;

    step("fuzzing");
    fuzz::run(shell, &fuzz::Args::seconds(args.fuzz_seconds)).context("fuzzing")
}

/// Runs all scenarios on two kernels of arm64, one on either side of its minimum of fexit.
fn arm64(shell: &Shell) -> Result<()> {
    let harness = ["run", "--locked", "--quiet", "-p", "harness", "--"];
    let one = ["--kernel", "6.12:arm64", "--scenario", "attach"];
    let output = ["--output", "target/arm64.json"];
    let tried = cmd!(shell, "cargo {harness...} {one...} {output...}")
        .ignore_status()
        .output()?;
    let errors = String::from_utf8_lossy(&tried.stderr);
    if errors.contains("built without a guest") {
        eprintln!(
            "NOT RUN: the harness has no guest for arm64; `ci/setup --arm64` installs what its build needs"
        );
        return Ok(());
    }
    let both = ["--kernel", "6.1,6.12", "--arch", "arm64"];
    cmd!(shell, "cargo {harness...} {both...} {output...}").run()?;
    Ok(())
}

fn step(name: &str) {
    eprintln!("\n== {name}");
}
