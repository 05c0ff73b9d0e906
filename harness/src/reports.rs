//! Commands that work on reports already written.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{
    cli::Outputs,
    report::{KernelReport, Report, compare::Comparison, file},
    run::Sinks,
};

/// Prints what changed between two reports, and returns the exit status that says whether something regressed.
pub fn compare(old: &Path, new: &Path) -> Result<u8> {
    let comparison = Comparison::new(&file::read(old)?, &file::read(new)?);
    write!(io::stdout(), "{comparison}").context("cannot write to stdout")?;
    Ok(comparison.exit_code())
}

/// Merges reports, as the jobs of a CI write them, renders the result, and returns its exit status.
pub fn merge(paths: &[PathBuf], outputs: &Outputs) -> Result<u8> {
    let sinks = Sinks::prepare(outputs)?;
    let mut kernels: Vec<KernelReport> = Vec::new();
    for path in paths {
        for kernel in file::read(path)?.kernels {
            // A kernel that was run again replaces itself.
            match kernels
                .iter_mut()
                .find(|known| known.requested == kernel.requested)
            {
                Some(known) => *known = kernel,
                None => kernels.push(kernel),
            }
        }
    }
    let report = Report::new(kernels);
    sinks.finish(&report)?;
    Ok(report.verdict.exit_code())
}
