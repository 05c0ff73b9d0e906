//! Shows which files are slow to open, and which cannot be opened.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use slowopen::{Open, Options, start};
use tool::{Output, watch};

/// Shows which files are slow to open, and which cannot be opened; requires root.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    output: Output,
}

fn main() -> ExitCode {
    tool::exit(run(&Cli::parse()))
}

fn run(cli: &Cli) -> Result<ExitCode> {
    let (tracer, mut events) = start(&cli.options)?;
    watch::<Open>(&cli.output, &tracer, &mut events)
}
