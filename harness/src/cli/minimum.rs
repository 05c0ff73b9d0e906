//! The options of `harness minimum`.

use std::path::PathBuf;

use clap::Args;

use super::all_kernels::AllKernels;
use crate::{initramfs::bpf_objects::ObjectArgs, kernels::Options, vm::Mode};

const EXAMPLES: &str = "\
Examples:
  harness minimum --object prog.bpf.o
  harness minimum --object prog.bpf.o --kernel 5.10,6.* --json";

/// Find the oldest and the newest kernel on which each program of an object works, with as few boots as possible
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct MinimumArgs {
    /// The kernels.
    #[command(flatten)]
    pub all: AllKernels,

    /// Also search a local kernel: an image (bzImage, vmlinuz, vmlinux), or the tree where it was built
    #[arg(long = "kernel-image", value_name = "FILE")]
    pub own: Vec<PathBuf>,

    /// Print JSON to stdout
    #[arg(long)]
    pub json: bool,

    /// CPU accelerator of the VM; auto uses KVM if it works
    #[arg(long, value_enum, default_value_t)]
    pub accel: Mode,

    /// Show the console and the QEMU command of each VM
    #[arg(short, long)]
    pub verbose: bool,

    /// The user's objects.
    #[command(flatten)]
    pub objects: ObjectArgs,

    /// Which kernels there are, and where they are kept.
    #[command(flatten)]
    pub store: Options,
}
