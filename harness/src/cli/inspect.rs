//! The options of `harness inspect`.

use std::path::PathBuf;

use clap::Args;

use crate::kernels::Options;

const EXAMPLES: &str = "\
Examples:
  harness inspect prog.bpf.o                  # targets, maps, helpers, and the earliest kernel
  harness inspect prog.bpf.o --kernel all     # what each kernel lacks";

/// Show what an object requires of a kernel, without booting one: targets, maps, helpers, types, the earliest kernel
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct InspectArgs {
    /// Objects, as clang, bpf2go or aya-ebpf build them
    #[arg(required = true, value_name = "OBJECT")]
    pub objects: Vec<PathBuf>,

    /// Another target than the section names, as a run takes it: PROG=FUNCTION, PROG=MODULE:FUNCTION, PROG=prog:OTHER,
    /// PROG=prog:id:ID or PROG=prog:pinned:PATH
    #[arg(long = "target", value_name = "PROG=TARGET")]
    pub targets: Vec<String>,

    /// Also show what these kernels lack of it, by their BTF and configuration; boots nothing
    #[arg(short, long = "kernel", value_name = "KERNEL", value_delimiter = ',')]
    pub kernels: Vec<String>,

    /// Print JSON to stdout
    #[arg(long)]
    pub json: bool,

    /// Which kernels there are, and where they are kept.
    #[command(flatten)]
    pub store: Options,
}
