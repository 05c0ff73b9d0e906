//! The options of `harness kernels`.

use clap::Subcommand;

use super::build::BuildArgs;
use crate::kernels::Options;

const FETCH_EXAMPLES: &str = "\
Examples:
  harness kernels fetch all                # Debian's kernels, 5.10 to the latest
  harness kernels fetch 6.1,el9,lvh:6.6";

const BUILD_EXAMPLES: &str = "\
Examples:
  harness kernels build 5.5                # the newest 5.5 of kernel.org
  harness kernels build --source linux/ --name mine && harness --kernel mine";

/// The commands of `harness kernels`.
#[derive(Debug, Subcommand)]
pub enum KernelsCommand {
    /// List the kernels and the version that each name resolves to
    List {
        /// Only these: a series (5.10), a pattern (6.*), latest, built, or all, which leaves out those marked with -
        #[arg(value_name = "KERNEL", value_delimiter = ',')]
        kernels: Vec<String>,
        /// Print a JSON array on one line, one object per kernel
        #[arg(long)]
        json: bool,
        /// Which kernels there are, and where they are kept.
        #[command(flatten)]
        store: Options,
    },
    /// Download and verify kernels, so that later runs need no network
    #[command(after_help = FETCH_EXAMPLES)]
    Fetch {
        /// A series (5.10), an exact version, a pattern (6.*), latest, built, or all
        #[arg(required = true, value_name = "KERNEL", value_delimiter = ',')]
        kernels: Vec<String>,
        /// Which kernels there are, and where they are kept.
        #[command(flatten)]
        store: Options,
    },
    /// Check every byte of cached kernels, of their unpacked forms and of their templates; exit status 1 if one was
    /// changed, 3 if a kernel is not in the cache
    Verify {
        /// A series (5.10), an exact version, a pattern (6.*), latest, built, or all
        #[arg(required = true, value_name = "KERNEL", value_delimiter = ',')]
        kernels: Vec<String>,
        /// Which kernels there are, and where they are kept.
        #[command(flatten)]
        store: Options,
    },
    /// Build a kernel from source with the options that fexit needs, and test fexit in it
    #[command(after_help = BUILD_EXAMPLES)]
    Build(BuildArgs),
    /// Update the lock: each series to the newest kernel of its archive, or the tag of an image to its digest, after it
    /// has booted once
    Update {
        /// Only these series, groups (distros), patterns (ubuntu-*) or images (lvh:6.6), instead of those of `all`
        #[arg(value_name = "SERIES", value_delimiter = ',')]
        series: Vec<String>,
        /// Do not download and boot the new kernels
        #[arg(long)]
        no_boot: bool,
        /// Which kernels there are, and where they are kept.
        #[command(flatten)]
        store: Options,
    },
}

impl KernelsCommand {
    /// The kernel options of the command.
    pub fn store(&self) -> &Options {
        match self {
            Self::List { store, .. }
            | Self::Fetch { store, .. }
            | Self::Verify { store, .. }
            | Self::Update { store, .. } => store,
            Self::Build(args) => &args.store,
        }
    }
}
