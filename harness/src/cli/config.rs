//! The options for `harness.toml`.

use std::path::PathBuf;

use clap::Args;

/// Which file has options.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Take options from this file instead of the nearest harness.toml
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// Take no options from a file
    #[arg(long, global = true, conflicts_with = "config")]
    pub no_config: bool,

    /// Take the options of this profile in the file first
    #[arg(long, value_name = "NAME", global = true, conflicts_with = "no_config")]
    pub profile: Option<String>,
}
