//! Which kernels there are, and where they are kept.

use std::path::PathBuf;

use clap::Args;

use crate::kernels::Options;

/// Which kernels there are, and where they are kept.
#[derive(Clone, Debug, Default, Args)]
pub struct StoreArgs {
    /// Where to keep kernels [default: fexit-harness in the user's cache directory]
    #[arg(long, value_name = "DIR", env = "HARNESS_CACHE_DIR")]
    pub cache_dir: Option<PathBuf>,

    /// Take kernels from this file, made like kernels/kernels.toml, instead of the built-in ones
    #[arg(long, value_name = "FILE")]
    pub matrix: Option<PathBuf>,

    /// Take the newest kernel of a series that its archive has, not the one that is locked
    #[arg(long)]
    pub newest: bool,

    /// Use only what the cache holds
    #[arg(long, conflicts_with = "newest")]
    pub offline: bool,
}

impl StoreArgs {
    /// The same for [`crate::kernels::Kernels::open`].
    pub fn options(&self) -> Options {
        Options {
            cache_dir: self.cache_dir.clone(),
            offline: self.offline,
            matrix: self.matrix.clone(),
            newest: self.newest,
            ..Options::default()
        }
    }
}
