//! The options of `harness cache`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What to do with what is kept.
#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// List kernels, builds, unpacked kernels and templates, with their size on disk
    List {
        /// Which cache.
        #[command(flatten)]
        place: Place,
    },
    /// Remove templates and unpacked kernels, which are recreated when needed
    Clear {
        /// Remove downloaded kernels, the archives' lists and unfinished builds too, which must be downloaded again;
        /// kernels that were built here stay
        #[arg(long)]
        all: bool,
        /// Remove these kernels and builds instead, named as `list` shows them: the only way to remove a built kernel
        #[arg(value_name = "NAME", conflicts_with = "all")]
        names: Vec<String>,
        /// Which cache.
        #[command(flatten)]
        place: Place,
    },
}

/// Which cache.
#[derive(Debug, Args)]
pub struct Place {
    /// The cache directory [default: fexit-harness in the user's cache directory]
    #[arg(long, value_name = "DIR", env = "HARNESS_CACHE_DIR")]
    pub cache_dir: Option<PathBuf>,
}
