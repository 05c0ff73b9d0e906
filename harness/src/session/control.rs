//! The options of a run that select a part of it, or repeat it.

use std::path::PathBuf;

use clap::Args;

use super::shard::Shard;

/// Which part of a run to do, and how often.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Run control")]
pub struct ControlArgs {
    /// Do only part K of N, by kernel and then by scenario; `harness report` of all parts is the whole run
    #[arg(long, value_name = "K/N", conflicts_with = "rerun_failed")]
    pub shard: Option<Shard>,

    /// Run again what is not ok or not known in this report, on its kernels; the new report has the other results of the old
    /// one too
    #[arg(long, value_name = "REPORT")]
    pub rerun_failed: Option<PathBuf>,

    /// How the results of VMs are obtained.
    #[command(flatten)]
    pub tries: Tries,
}

/// How often a kernel runs.
#[derive(Clone, Copy, Debug, Default, Args)]
#[command(next_help_heading = "Run control")]
pub struct Tries {
    /// Run what is not ok up to N times more, each time in a new VM. What then passes is ok, and marked as flaky
    #[arg(long, value_name = "N", default_value_t)]
    pub retries: u16,

    /// Stop all kernels at the first result that is not ok
    #[arg(long)]
    pub fail_fast: bool,

    /// Run everything N times, each time in a new VM; of the results of a scenario the worst counts
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub repeat: Option<u16>,
}
