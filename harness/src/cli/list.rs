//! The options of `harness list`.

use clap::Args;

use crate::kernels::Options;

/// List the scenarios, each with its minimum kernel, and the kernels
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only the scenarios with these ids; * and ? are wildcards
    #[arg(short, long = "scenario", value_name = "ID", value_delimiter = ',')]
    pub scenarios: Vec<String>,

    /// Which kernels there are, and where they are kept.
    #[command(flatten)]
    pub store: Options,
}
