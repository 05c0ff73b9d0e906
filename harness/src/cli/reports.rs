//! The options of the commands on finished reports.

use std::path::PathBuf;

use clap::Args;

use super::cache::Place;
use crate::{session::outputs::OutputArgs, support::percent::percent};

const COMPARE_HELP: &str = "\
Examples:
  harness compare old.json new.json
  harness compare --verifier-growth 10 old.json new.json

Exit status: 0 without a regression, 1 with one, 2 wrong usage, 3 if something is no longer judged.";

/// Compare two reports; exit status 1 on a regression
#[derive(Debug, Args)]
#[command(after_help = COMPARE_HELP)]
pub struct CompareArgs {
    /// The old report
    pub old: PathBuf,

    /// The new report
    pub new: PathBuf,

    /// A verifier figure of a program that grew by more than this is a regression
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub verifier_growth: Option<f64>,
}

const REPORT_HELP: &str = "\
Examples:
  harness report 5.10.json 6.1.json --markdown report.md
  harness report --expect all --summary *.json         # in CI: a kernel without a report counts as not run";

/// Merge reports into one and render it
#[derive(Debug, Args)]
#[command(after_help = REPORT_HELP)]
pub struct ReportArgs {
    /// JSON reports
    #[arg(required_unless_present = "expect")]
    pub reports: Vec<PathBuf>,

    /// Kernels that the reports must contain, named as for --kernel; a missing one counts as not run
    #[arg(long, value_name = "KERNEL", value_delimiter = ',')]
    pub expect: Vec<String>,

    /// The cache with the kernels that --expect names by a pattern
    #[command(flatten)]
    pub place: Place,

    /// What to write
    #[command(flatten)]
    pub outputs: OutputArgs,
}
