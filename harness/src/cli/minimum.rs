//! The options of `harness minimum`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::store::StoreArgs;
use crate::{initramfs::bpf_objects::ObjectArgs, vm::Mode};

/// Find the oldest and the newest kernel on which each program of an object works, with as few boots as possible
#[derive(Debug, Args)]
pub struct MinimumArgs {
    /// Programs of the user's.
    #[command(flatten)]
    pub objects: ObjectArgs,

    /// Among these kernels
    #[arg(
        short,
        long = "kernel",
        value_name = "KERNEL",
        value_delimiter = ',',
        default_value = "all"
    )]
    pub kernels: Vec<String>,

    /// Among them also a kernel of your own: an image (bzImage, vmlinuz, vmlinux), or the tree where it was built
    #[arg(long = "kernel-image", value_name = "FILE")]
    pub own: Vec<PathBuf>,

    /// As JSON on stdout
    #[arg(long)]
    pub json: bool,

    /// How to run the VM's CPU; auto takes KVM if it works
    #[arg(long, value_enum, default_value_t)]
    pub accel: Mode,

    /// Which kernels there are, and where they are kept.
    #[command(flatten)]
    pub store: StoreArgs,

    /// Show the console, and how each VM is started
    #[arg(short, long)]
    pub verbose: bool,
}
