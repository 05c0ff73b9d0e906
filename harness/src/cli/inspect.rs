//! The options of `harness inspect`.

use std::path::PathBuf;

use clap::Args;

/// Say what an object wants of a kernel, without booting one: targets, maps, helpers, types, the earliest kernel
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Objects, as clang, bpf2go or aya-ebpf build them
    #[arg(required = true, value_name = "OBJECT")]
    pub objects: Vec<PathBuf>,

    /// As JSON on stdout
    #[arg(long)]
    pub json: bool,
}
