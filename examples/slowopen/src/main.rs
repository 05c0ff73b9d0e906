//! Shows which files are slow to open, and which cannot be opened.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use slowopen::{Open, Options, start};
use tool::{Output, watch};

/// Shows which files are slow to open, and which cannot be opened; needs root.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    output: Output,
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    let (tracer, mut events) = start(&cli.options)?;
    watch::<Open>(&cli.output, &tracer, &mut events)
}
