//! The options of `harness cache`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::support::size::size;

/// What to do with the cache.
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
        /// built kernels stay
        #[arg(long)]
        all: bool,
        /// Remove these kernels and builds instead, named as `list` shows them: the only way to remove a built kernel
        #[arg(value_name = "NAME", conflicts_with = "all")]
        names: Vec<String>,
        /// Which cache.
        #[command(flatten)]
        place: Place,
    },
    /// Remove templates, unpacked kernels and downloaded kernels, the longest unused first, until the rest is small enough;
    /// built kernels and builds stay
    Prune {
        /// The limit for the cache on the disk, as 500M or 2.5G (powers of 1000)
        #[arg(long, value_name = "SIZE", value_parser = size)]
        max_size: u64,
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
