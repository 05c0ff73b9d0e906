//! The options of `harness veristat`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::{kernels::Options, report::verifier_table::SortKey, session::options::RunOptions};

const VERISTAT_HELP: &str = "\
Examples:
  harness veristat prog.bpf.o --kernel 6.1,6.12
  harness veristat *.bpf.o --kernel all --sort insns --output-format csv

Columns: duration is microseconds; insns the instructions that the verifier processed, insns_left how many more it would
have; prog_size, longest and xlated the instructions of the program, of its longest function, and after the verifier
rewrote them; stack and prog_size_jited bytes. What the kernel does not say is empty.

Exit status: 0 if every program was loaded, and attached if it is a tracing or LSM program; 1 if not; 2 wrong usage; 3 if
a kernel could not be booted.";

/// Load the programs of objects on kernels, and print the verifier's figures as a table
#[derive(Debug, Args)]
#[command(after_help = VERISTAT_HELP)]
pub struct VeristatArgs {
    /// Objects, as clang, bpf2go or aya-ebpf build them
    #[arg(required = true, value_name = "OBJECT")]
    pub objects: Vec<PathBuf>,

    /// Kernels to boot: a series (5.10), an exact version (5.10.262), a pattern (6.*), latest, built, or all
    #[arg(short, long = "kernel", value_name = "KERNEL", value_delimiter = ',')]
    #[arg(required_unless_present = "kernel_image")]
    pub kernels: Vec<String>,

    /// Boot a local kernel: an image (bzImage, vmlinuz, vmlinux), or the tree where it was built
    #[arg(long, value_name = "FILE")]
    pub kernel_image: Option<PathBuf>,

    /// Only the programs whose names match this pattern
    #[arg(
        short = 'f',
        long = "program",
        visible_alias = "filter",
        value_name = "GLOB"
    )]
    pub programs: Vec<String>,

    /// Another target than the section names, as a run takes it
    #[arg(long = "target", value_name = "PROG=TARGET")]
    pub targets: Vec<String>,

    /// Sort by these columns. FIELD^ is ascending and FIELDv descending; else texts are ascending and numbers descending
    #[arg(short, long, value_name = "FIELD", value_delimiter = ',')]
    pub sort: Vec<SortKey>,

    /// What to print: json is the report of a run, for `harness compare --verifier-growth`
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output_format: Format,

    /// Show the console and the QEMU command of each VM
    #[arg(short, long)]
    pub verbose: bool,

    /// The options of the VMs.
    #[command(flatten)]
    pub options: RunOptions,

    /// Which kernels there are, and where they are kept.
    #[command(flatten)]
    pub store: Options,
}

/// The forms of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns.
    Table,
    /// Comma-separated values.
    Csv,
    /// The report.
    Json,
}
