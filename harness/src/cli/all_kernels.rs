//! `--kernel` of the commands that take all kernels unless told otherwise.

use clap::Args;

/// The kernels that a command looks at.
#[derive(Debug, Args)]
pub struct AllKernels {
    /// Look at these kernels
    #[arg(
        short,
        long = "kernel",
        value_name = "KERNEL",
        value_delimiter = ',',
        default_value = "all"
    )]
    pub kernels: Vec<String>,
}
