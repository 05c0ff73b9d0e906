//! Commands on finished reports.

use std::io::{self, Write as _};

use anyhow::{Context as _, Result};

use crate::{
    cli::reports::{CompareArgs, ReportArgs},
    kernels::{Kernels, Options},
    report::{KernelReport, compare::Comparison, file, github, merge},
    session::outputs::Outputs,
};

/// Prints the changes between two reports, and returns the exit status, which is not 0 after a regression.
pub fn compare(args: &CompareArgs) -> Result<u8> {
    let (old, new) = (file::read(&args.old)?, file::read(&args.new)?);
    let comparison = Comparison::new(&old, &new, args.verifier_growth);
    write!(io::stdout(), "{comparison}").context("cannot write to stdout")?;
    Ok(comparison.exit_code())
}

/// Merges reports of CI jobs, renders the result, and returns its exit status.
pub fn merge(args: &ReportArgs) -> Result<u8> {
    let options = Options {
        cache_dir: args.place.cache_dir.clone(),
        ..Options::default()
    };
    let expected = match args.expect.as_slice() {
        [] => Vec::new(),
        names => Kernels::open(options)?.expand(names)?,
    };
    let outputs = Outputs::prepare(&args.outputs)?;
    let reports: Result<Vec<_>> = args.reports.iter().map(|path| file::read(path)).collect();
    let reports = reports?;
    let shards = merge::missing_shards(&reports);
    let mut report = merge::merge(reports);
    let mut missing = missing(&expected, &report.kernels);
    missing.extend(
        shards
            .iter()
            .map(|shard| lost(&format!("shard {shard}"), "shard")),
    );
    // The jobs that wrote the reports have annotated their results.
    github::annotate(&missing);
    report.kernels.extend(missing);
    report.conclude();
    outputs.finish(&report)?;
    Ok(report.verdict.exit_code())
}

/// The expected kernels that no report has.
fn missing(expected: &[String], kernels: &[KernelReport]) -> Vec<KernelReport> {
    let is_there = |name: &String| kernels.iter().any(|kernel| kernel.requested == *name);
    let absent = expected.iter().filter(|name| !is_there(name));
    absent.map(|name| lost(name, "kernel")).collect()
}

/// The entry of a kernel or shard that no report has.
fn lost(name: &str, what: &str) -> KernelReport {
    KernelReport {
        requested: name.to_owned(),
        error: Some(format!(
            "no report has this {what}: its job ended before it wrote one"
        )),
        ..KernelReport::default()
    }
}
