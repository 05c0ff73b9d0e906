//! The options of `harness kernels build`.

use clap::Args;

use crate::kernels::{Options, build::BuildOptions};

/// Which kernel to build, and from what.
#[derive(Clone, Debug, Args)]
pub struct BuildArgs {
    /// The build.
    #[command(flatten)]
    pub options: BuildOptions,

    /// Which kernels there are, and where they are kept.
    #[command(flatten)]
    pub store: Options,
}
