//! The options for objects and commands.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};

use crate::support::seconds::seconds;

/// The user's objects.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Objects and commands")]
pub struct ObjectArgs {
    /// Try the programs of an object on each kernel: load each, attach and detach the tracing and LSM programs. Without
    /// --scenario nothing else runs
    #[arg(long = "object", value_name = "FILE")]
    pub objects: Vec<PathBuf>,

    /// Only the programs whose names match this pattern
    #[arg(long = "program", value_name = "GLOB", requires = "objects")]
    pub programs: Vec<String>,

    /// The object works without these programs, as if their sections began with `?`
    #[arg(long = "optional", value_name = "GLOB", requires = "objects")]
    pub optional: Vec<String>,

    /// The object works if one of these programs does
    #[arg(long = "any-of", value_name = "PROG,PROG,...", requires = "objects")]
    pub any_of: Vec<String>,

    /// Another target than the section names: PROG=FUNCTION, PROG=MODULE:FUNCTION, or another BPF program: PROG=prog:OTHER
    /// for one of the objects, PROG=prog:pinned:PATH and PROG=prog:id:ID for one that --prepare has loaded; with
    /// /SUBPROGRAM after it for a function of that program
    #[arg(long = "target", value_name = "PROG=TARGET", requires = "objects")]
    pub targets: Vec<String>,

    /// A shell command that runs once in each VM before the programs are tried, for a minute at most, as to load and pin
    /// another program or to create a network interface. Processes that it leaves are killed
    #[arg(long, value_name = "CMD", requires = "objects")]
    pub prepare: Option<String>,

    /// Copy a file or folder into the VM for --prepare, --trigger and --command, to the same path or to PLACE
    #[arg(long = "file", value_name = "PATH[:PLACE]", value_hint = ValueHint::AnyPath)]
    pub files: Vec<String>,

    /// Load this kernel module first, with the modules that it depends on: programs may have targets in it
    #[arg(long = "module", value_name = "FILE", requires = "objects")]
    pub own_modules: Vec<PathBuf>,

    /// Run a shell command on each kernel: it works if its exit status is 0. With --object, the objects are copied into
    /// the VM, and BPF_OBJECTS has their paths; their programs are tried only if --program selects them
    #[arg(long, value_name = "CMD")]
    pub command: Option<String>,

    /// Time limit for that command
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    #[arg(requires = "command")]
    pub command_timeout: Duration,

    /// A shell command that runs in the VM while each program is attached, with the other programs of its object attached too
    #[arg(long, value_name = "CMD", requires = "objects")]
    pub trigger: Option<String>,

    /// Time limit for each run of that command; then it is killed
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    #[arg(requires = "trigger")]
    pub trigger_timeout: Duration,
}
