//! The options of a build.

use std::path::PathBuf;

use clap::Args;

/// Which kernel to build, from what, and how.
#[derive(Clone, Debug, Default, Args)]
pub struct BuildOptions {
    /// A series (5.5), of which the newest release is built, or a release (5.5.19)
    #[arg(value_name = "KERNEL", required_unless_present = "source")]
    pub kernel: Option<String>,

    /// Build this tree of kernel sources, or a tarball of one, instead of kernel.org's release
    #[arg(long, value_name = "DIR|TARBALL")]
    pub source: Option<PathBuf>,

    /// Name the kernel: it is part of its release, and `harness --kernel NAME` boots it [default: of the source of a
    /// known vendor, as el9.6; of another, none]
    #[arg(long)]
    pub name: Option<String>,

    /// Start from this kernel configuration instead of the kernel's defaults; `vendor` is the one that a vendor's source
    /// contains
    #[arg(long, value_name = "FILE|vendor", value_hint = clap::ValueHint::Other)]
    pub base_config: Option<PathBuf>,

    /// Add the options of this config fragment
    #[arg(long, value_name = "FILE")]
    pub fragment: Vec<PathBuf>,

    /// Give this variable to make, as KCFLAGS=-Wno-error
    #[arg(long, value_name = "VAR=VALUE")]
    pub make_arg: Vec<String>,

    /// Number of parallel compilers [default: as many as there are cores]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,

    /// Rebuild from scratch, ignoring earlier and unfinished builds
    #[arg(long)]
    pub again: bool,
}
