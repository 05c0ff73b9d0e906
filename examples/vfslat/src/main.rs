//! Shows how long reads and writes of files take, by file system.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use serde_json::json;
use tool::{Output, print, watch};
use vfslat::{Options, Slow, histograms, start};

/// Shows how long reads and writes of files take, by file system; requires root.
///
/// The histograms come at the end: with Ctrl-C, after --duration, or when COMMAND ends.
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
    let code = watch::<Slow>(&cli.output, &tracer, &mut events)?;
    for ((fs, operation), histogram) in histograms(&tracer)? {
        if cli.output.json {
            let line = json!({
                "fs": fs,
                "operation": operation.to_string(),
                "count": histogram.count(),
                "log2_us": histogram.0,
            });
            print(&format!("{line}\n"))?;
        } else {
            let count = histogram.count();
            print(&format!("{operation} on {fs}: {count}\n{histogram}"))?;
        }
    }
    Ok(code)
}
