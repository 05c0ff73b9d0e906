//! Shows the TCP connections that this machine opens: remote address, latency, or why it failed.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use tcpconnect::{Connection, Options, start};
use tool::{Output, watch};

/// Shows the TCP connections that this machine opens: remote address, latency, or why it failed; requires root.
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
    watch::<Connection>(&cli.output, &tracer, &mut events)
}
