//! The options of `harness functions`.

use clap::Args;

use super::all_kernels::AllKernels;
use crate::kernels::Options;

const EXAMPLES: &str = "\
Examples:
  harness functions 'vfs_open*' --kernel all
  harness functions xfs:xfs_file_open --kernel 6.1 --json";

/// Show which kernels have a function in their BTF, whether its name is ambiguous, and its signatures; boots nothing
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct FunctionsArgs {
    /// Functions, as NAME or MODULE:NAME, in which * matches any characters
    #[arg(required = true, value_name = "PATTERN")]
    pub patterns: Vec<String>,

    /// The kernels.
    #[command(flatten)]
    pub all: AllKernels,

    /// Print JSON to stdout
    #[arg(long)]
    pub json: bool,

    /// Which kernels there are, and where they are kept.
    #[command(flatten)]
    pub store: Options,
}
