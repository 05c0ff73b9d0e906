//! The options of a run.

use std::path::PathBuf;

use clap::Args;

use super::heading::{KERNELS, OUTPUT, SCENARIOS};
use crate::{
    initramfs::bpf_objects::ObjectArgs,
    kernels::Options,
    session::{control::ControlArgs, options::RunOptions, outputs::OutputArgs},
    support::percent::percent,
};

pub(super) const RUN_HELP: &str = "\
Examples:
  harness --kernel 5.10                                # all scenarios on one kernel, JSON on stdout
  harness --kernel 5.10,6.1,7.3 --output report.json   # several kernels at once
  harness --kernel all --object prog.bpf.o             # the programs of an object on every kernel
  harness --kernel all --command ./my-loader           # the exit status of a program is the verdict
  harness --kernel all --baseline old.json             # only a regression fails the run
  harness --kernel all --shard 2/5 --retries 2         # one of five parts; failures run up to twice more
  harness --rerun-failed report.json                   # what was not ok there

Exit status:
  0    all ok
  1    something is not-ok (with --baseline: something regressed)
  2    wrong usage
  3    infrastructure: download, QEMU, boot, disk; nothing learned about fexit
  130  interrupted (Ctrl-C); 143 by SIGTERM. What had finished is in the report.";

/// Run scenarios, or the programs of objects, on kernels, and report the results
#[derive(Debug, Default, Args)]
#[command(after_help = RUN_HELP)]
pub struct RunArgs {
    /// Kernels to boot: a series (5.10), an exact version (5.10.262), a pattern (6.*), latest, built, all, or an image
    /// (lvh:6.6, ci-kernels:6.6, oci:HOST/REPOSITORY:TAG)
    #[arg(short, long = "kernel", value_name = "KERNEL", value_delimiter = ',')]
    #[arg(help_heading = KERNELS)]
    #[arg(required_unless_present_any = ["list", "kernel_image", "rerun_failed"])]
    pub kernels: Vec<String>,

    /// Boot a local kernel: an image (bzImage, vmlinuz, vmlinux), or the tree where it was built
    #[arg(long, value_name = "FILE")]
    #[arg(help_heading = KERNELS)]
    pub kernel_image: Option<PathBuf>,

    /// The folder with the modules of --kernel-image, if they are not next to it or installed
    #[arg(long, value_name = "DIR", requires = "kernel_image")]
    #[arg(help_heading = KERNELS)]
    pub modules: Option<PathBuf>,

    /// The kernels are a vendor's, who backports features: what they have below its minimum is a backport. Without this,
    /// their source or their release says so
    #[arg(long, help_heading = KERNELS)]
    pub vendor: bool,

    /// Run only the scenarios with these ids; * and ? are wildcards
    #[arg(short, long = "scenario", value_name = "ID", value_delimiter = ',')]
    #[arg(help_heading = SCENARIOS)]
    pub scenarios: Vec<String>,

    /// The user's objects.
    #[command(flatten)]
    pub objects: ObjectArgs,

    /// List the scenarios and the kernels, and run nothing
    #[arg(long, help_heading = SCENARIOS)]
    pub list: bool,

    /// The outputs.
    #[command(flatten)]
    pub outputs: OutputArgs,

    /// Compare with this report: only regressions fail the run
    #[arg(long, value_name = "REPORT")]
    #[arg(help_heading = OUTPUT)]
    pub baseline: Option<PathBuf>,

    /// With --baseline: a verifier figure of a program that grew by more than this is a regression
    #[arg(long, value_name = "PERCENT", value_parser = percent, requires = "baseline")]
    #[arg(help_heading = OUTPUT)]
    pub verifier_growth: Option<f64>,

    /// Which part of the run to do, and how often.
    #[command(flatten)]
    pub control: ControlArgs,

    /// The options of the VMs.
    #[command(flatten)]
    pub options: RunOptions,

    /// Which kernels there are, and where they are kept.
    #[command(flatten)]
    pub store: Options,

    /// Show the console and the QEMU command of each VM
    #[arg(short, long, help_heading = OUTPUT)]
    pub verbose: bool,
}
