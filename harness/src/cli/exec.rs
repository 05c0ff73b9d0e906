//! The options of `harness exec` and `harness shell`.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, ValueHint};

use super::heading::KERNELS;
use crate::{
    kernels::Options,
    support::seconds::seconds,
    vm::{Mode, options::MachineArgs},
};

const EXEC_HELP: &str = "\
Examples:
  harness exec --kernel 6.1 -- uname -r
  harness exec --kernel 6.1 --file data.bin -- ./my-binary data.bin
  harness exec --kernel 6.1 --out result.json:result-6.1.json -- ./my-binary
  harness exec --kernel 6.1 -t -- gdb ./my-binary

The harness copies the program into the VM at the same path, with its libraries, the interpreter of a script, and the
commands in a shell script. The program runs as root in an empty folder with the path of the current folder, or in
--workdir: --file copies the files that it reads. Files that it writes are lost when the VM ends, except for those that
--out copies to the host. The VM has no network.

The program gets these environment variables: PATH, TERM, TZ, LANG, LC_*, RUST_* of Rust programs and tests, CARGO_* of
cargo test, and FEXIT_VM with the kernel's release. Other variables may be secrets and are not passed; --env passes more.

Exit status: that of the program, 128 + N if signal N killed it (stderr has a message), and
  2    wrong usage
  124  the program exceeded --timeout
  125  the harness or the VM failed (kernel panic); stderr has the reason
  126  the program cannot be run
  127  the program is not found
  130  interrupted (Ctrl-C, or Ctrl-A X with --tty); 143 by SIGTERM

To run the tests of a crate:
  CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER=\"harness exec --kernel 6.1 --\" cargo test";

/// Run a program of the host in a VM
#[derive(Debug, Args)]
#[command(after_help = EXEC_HELP)]
pub struct ExecArgs {
    /// Pass standard input to the program; without this it is empty
    #[arg(short = 'i', long)]
    pub stdin: bool,

    /// Give the program this terminal, as `harness shell` has it; without --timeout there is then no time limit
    #[arg(short, long)]
    pub tty: bool,

    /// Run the program in this folder of the VM, which is created if no file is in it [default: the path of the current
    /// folder]
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<PathBuf>,

    /// Time limit for the program [default: 600, or none with --tty]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with = "gdb")]
    pub timeout: Option<Duration>,

    /// The program, by its path or found on PATH, and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    #[arg(value_name = "COMMAND")]
    pub command: Vec<OsString>,

    /// The VM.
    #[command(flatten)]
    pub vm: VmArgs,
}

const SHELL_HELP: &str = "\
Examples:
  harness shell --kernel 6.1
  echo 'bpftool prog' | harness shell --kernel 6.1

`exit` ends the shell and the VM. Ctrl-A X ends the VM even if it hangs. Ctrl-A twice sends one Ctrl-A to the shell.
The VM has bpftool, busybox and common commands if this machine has them; --file copies more. Without a terminal, the
shell reads commands from standard input.

Exit status: that of the shell, 0 after Ctrl-A X; for other values see `harness exec --help`.";

/// Open a shell in a VM
#[derive(Debug, Args)]
#[command(after_help = SHELL_HELP)]
pub struct ShellArgs {
    /// The VM.
    #[command(flatten)]
    pub vm: VmArgs,
}

/// The VM, and its files.
#[derive(Debug, Args)]
#[command(next_help_heading = "Virtual machine")]
pub struct VmArgs {
    /// The kernel to boot: a series (6.1), an exact version (6.1.192), or latest
    #[arg(short, long, value_name = "KERNEL")]
    #[arg(required_unless_present = "kernel_image", help_heading = KERNELS)]
    pub kernel: Option<String>,

    /// Boot a local kernel: an image (bzImage, vmlinuz, vmlinux), or the tree where it was built
    #[arg(long, value_name = "FILE", conflicts_with = "kernel", help_heading = KERNELS)]
    pub kernel_image: Option<PathBuf>,

    /// The folder with the modules of --kernel-image, if they are not next to it or installed
    #[arg(long, value_name = "DIR", requires = "kernel_image", help_heading = KERNELS)]
    pub modules: Option<PathBuf>,

    /// Load this kernel module and its dependencies
    #[arg(long = "module", value_name = "NAME", value_delimiter = ',')]
    pub requested_modules: Vec<String>,

    /// Copy a file or folder into the VM, to the same path or to PLACE; programs come with their libraries
    #[arg(short, long = "file", value_name = "PATH[:PLACE]", value_hint = ValueHint::AnyPath)]
    pub files: Vec<String>,

    /// Mount a folder of the host at the same path or at GUEST, by virtiofs; with `:ro` the VM cannot write to it
    #[arg(long = "mount", value_name = "HOST[:GUEST][:ro]", value_hint = ValueHint::DirPath)]
    pub mounts: Vec<OsString>,

    /// After the program has ended, copy a file or folder of the VM to HOST, which must not be a folder yet
    #[arg(long, value_name = "GUEST:HOST", value_hint = ValueHint::AnyPath)]
    pub out: Vec<OsString>,

    /// Set an environment variable of the program, or pass the host's value of one
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    pub environment: Vec<OsString>,

    /// The VM's memory [default: 512, and more for large files]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(64..=65536))]
    pub memory: Option<u32>,

    /// Virtual CPUs
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub cpus: u32,

    /// CPU accelerator of the VM; auto uses KVM if it works
    #[arg(long, value_enum, default_value_t)]
    pub accel: Mode,

    /// Boot the VM from scratch instead of restoring a saved one
    #[arg(long)]
    pub no_template: bool,

    /// Wait for a debugger before the kernel's first instruction, and print how to connect gdb. There is no time limit
    #[arg(long)]
    pub gdb: bool,

    /// Keep console, initramfs (with the environment in it) and QEMU command in this folder; only their owner can read them
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,

    /// What the user adds to the VM.
    #[command(flatten)]
    pub machine: MachineArgs,

    /// Show the console and the QEMU command
    #[arg(short, long)]
    pub verbose: bool,

    /// Which kernels there are, and where they are kept.
    #[command(flatten)]
    pub store: Options,
}
