//! `--list`: what there is to run, and on what.

use std::io::{self, Write as _};

use anyhow::{Context as _, Result};

use crate::{
    cli::RunArgs,
    run::{self, scenarios},
};

/// Prints the scenarios, each with the kernel it claims to need, and the kernels.
pub fn print(args: &RunArgs) -> Result<u8> {
    let planned = scenarios::select(&args.scenarios)?;
    let kernels = run::open_kernels(args)?;
    let width = planned
        .iter()
        .map(|scenario| scenario.id.len())
        .max()
        .unwrap_or(0);
    let mut out = io::stdout().lock();
    let mut print = || -> io::Result<()> {
        writeln!(
            out,
            "Scenarios, and the kernel from which on each must pass:"
        )?;
        for scenario in &planned {
            writeln!(
                out,
                "  {:<width$}  {:<5}  {}",
                scenario.id, scenario.feature.minimum(), scenario.title
            )?;
        }
        writeln!(out, "\nKernels:")?;
        for series in kernels.matrix().series() {
            let locked = kernels
                .matrix()
                .lock
                .find(&series.name)
                .map_or("", |locked| &locked.version);
            writeln!(
                out,
                "  {:<5}  {:<10}  {}",
                series.name, locked, series.source
            )?;
        }
        Ok(())
    };
    print().context("cannot write to stdout")?;
    Ok(0)
}
