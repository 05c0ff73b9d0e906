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

    step("package");
    cmd!(
        shell,
        "cargo publish --dry-run --locked --allow-dirty --quiet -p fexit"
    )
    .run()?;

    step("fuzzing");
    fuzz::run(shell, &fuzz::Args::seconds(args.fuzz_seconds)).context("fuzzing")
}

fn step(name: &str) {
    eprintln!("\n== {name}");
}
