//! The command line.

pub mod all_kernels;
pub mod build;
pub mod cache;
pub mod exec;
pub mod functions;
pub mod inspect;
pub mod minimum;
pub mod veristat;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use self::{
    build::BuildArgs,
    cache::{CacheCommand, Place},
    exec::{ExecArgs, ShellArgs},
    functions::FunctionsArgs,
    inspect::InspectArgs,
    minimum::MinimumArgs,
    veristat::VeristatArgs,
};
use crate::{
    initramfs::bpf_objects::ObjectArgs,
    kernels::Options,
    session::{options::RunOptions, outputs::OutputArgs},
    support::percent::percent,
};

/// Boots real kernels in QEMU, runs fexit scenarios in them, and reports the results.
///
/// The report goes to stdout as JSON, or to --output; everything for people goes to stderr.
#[derive(Debug, Parser)]
#[command(
    name = "harness",
    version,
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = EXIT_STATUS
)]
pub struct Cli {
    /// The subcommand, if any.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The options of a run.
    #[command(flatten)]
    pub run: RunArgs,
}

const EXIT_STATUS: &str = "\
Exit status:
  0    all ok
  1    something is not-ok (with --baseline: something regressed)
  2    wrong usage
  3    infrastructure: download, QEMU, boot, disk; nothing learned about fexit
  130  interrupted (Ctrl-C); 143 by SIGTERM. What had finished is in the report.";

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List or clear the cache
    Cache {
        /// The cache command
        #[command(subcommand)]
        command: CacheCommand,
    },
    /// Compare two reports; exit status 1 on a regression
    Compare {
        /// The old report
        old: PathBuf,
        /// The new report
        new: PathBuf,
        /// A verifier figure of a program that grew by more than this is a regression
        #[arg(long, value_name = "PERCENT", value_parser = percent)]
        verifier_growth: Option<f64>,
    },
    /// Show which kernels have a function, and its signatures, without booting one
    Functions(FunctionsArgs),
    /// Show what an object requires of a kernel, without booting one
    Inspect(InspectArgs),
    /// Run a program of the host in a VM
    Exec(ExecArgs),
    /// Find the oldest and the newest kernel on which each program of an object works
    Minimum(MinimumArgs),
    /// Open a shell in a VM
    Shell(ShellArgs),
    /// List, download, verify or build kernels, or update the lock
    Kernels {
        /// The kernels command
        #[command(subcommand)]
        command: KernelsCommand,
    },
    /// Merge reports into one and render it
    Report {
        /// JSON reports
        #[arg(required_unless_present = "expect")]
        reports: Vec<PathBuf>,
        /// Kernels that the reports must contain, named as for --kernel; a missing one counts as not run
        #[arg(long, value_name = "KERNEL", value_delimiter = ',')]
        expect: Vec<String>,
        /// The cache with the kernels that --expect names by a pattern
        #[command(flatten)]
        place: Place,
        /// What to write
        #[command(flatten)]
        outputs: OutputArgs,
    },
    /// Load the programs of objects, and print the verifier's figures as a table
    Veristat(VeristatArgs),
}

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

/// The options of a run.
#[derive(Debug, Default, Args)]
pub struct RunArgs {
    /// Kernels to boot: a series (5.10), an exact version (5.10.262), a pattern (6.*), latest, built, all, or an image
    /// (lvh:6.6, ci-kernels:6.6, oci:HOST/REPOSITORY:TAG)
    #[arg(short, long = "kernel", value_name = "KERNEL", value_delimiter = ',')]
    #[arg(required_unless_present_any = ["list", "kernel_image"])]
    pub kernels: Vec<String>,

    /// Boot a local kernel: an image (bzImage, vmlinuz, vmlinux), or the tree where it was built
    #[arg(long, value_name = "FILE")]
    pub kernel_image: Option<PathBuf>,

    /// The folder with the modules of --kernel-image, if they are not next to it or installed
    #[arg(long, value_name = "DIR", requires = "kernel_image")]
    pub modules: Option<PathBuf>,

    /// The kernels are a vendor's, who backports features: what they have below its minimum is a backport. Without this,
    /// their source or their release says so
    #[arg(long)]
    pub vendor: bool,

    /// Run only the scenarios with these ids; * and ? are wildcards
    #[arg(short, long = "scenario", value_name = "ID", value_delimiter = ',')]
    pub scenarios: Vec<String>,

    /// The user's objects.
    #[command(flatten)]
    pub objects: ObjectArgs,

    /// List the scenarios and the kernels, and run nothing
    #[arg(long)]
    pub list: bool,

    /// The outputs.
    #[command(flatten)]
    pub outputs: OutputArgs,

    /// Compare with this report: only regressions fail the run
    #[arg(long, value_name = "REPORT")]
    pub baseline: Option<PathBuf>,

    /// With --baseline: a verifier figure of a program that grew by more than this is a regression
    #[arg(long, value_name = "PERCENT", value_parser = percent, requires = "baseline")]
    pub verifier_growth: Option<f64>,

    /// The options of the VMs.
    #[command(flatten)]
    pub options: RunOptions,

    /// Which kernels there are, and where they are kept.
    #[command(flatten)]
    pub store: Options,

    /// Show the console and the QEMU command of each VM
    #[arg(short, long)]
    pub verbose: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(["harness"].iter().chain(args))
    }

    #[test]
    fn clap_definition_is_valid() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn lists_are_repeated_or_separated_by_commas() {
        let cli = parse(&[
            "--kernel",
            "5.10,6.1",
            "--kernel",
            "all",
            "-s",
            "attach,un*",
        ])
        .unwrap();
        assert_eq!(cli.run.kernels, ["5.10", "6.1", "all"]);
        assert_eq!(cli.run.scenarios, ["attach", "un*"]);
        assert_eq!(cli.run.options, RunOptions::default());
    }

    #[test]
    fn subcommands_need_no_kernel_and_a_run_does() {
        assert!(
            parse(&["compare", "a.json", "b.json"])
                .unwrap()
                .command
                .is_some()
        );
        assert!(parse(&["--list"]).unwrap().run.list);
        assert!(
            parse(&["--scenario", "attach"])
                .unwrap_err()
                .to_string()
                .contains("--kernel")
        );
    }

    #[test]
    fn old_option_names_are_hidden_aliases() {
        let options = |more: &[&str]| {
            parse(&[&["--kernel", "all"], more].concat())
                .unwrap()
                .run
                .options
        };
        let (old, new) = (
            ["--silence", "9", "--in-turn"],
            ["--idle-timeout", "9", "--serial"],
        );
        assert_eq!(options(&old), options(&new));
        assert_ne!(options(&old), RunOptions::default());
    }

    #[test]
    fn out_of_range_numbers_are_refused() {
        for bad in [
            ["--timeout", "0"],
            ["--timeout", "1e3"],
            ["--timeout", "86401"],
            ["--silence", "0"],
            ["--idle-timeout", "0"],
            ["--jobs", "0"],
        ] {
            let args = ["--kernel", "5.10", bad[0], bad[1]];
            assert_eq!(parse(&args).unwrap_err().exit_code(), 2, "{bad:?}");
        }
    }
}
