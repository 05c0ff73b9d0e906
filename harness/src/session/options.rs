//! The options of a run that concern its VMs.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use crate::{
    support::seconds::seconds,
    vm::{Mode, options::MachineArgs},
};

/// The options of every command that runs VMs.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(next_help_heading = "Virtual machines")]
pub struct RunOptions {
    /// Time limit for each scenario, for a slow machine
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub scenario_timeout: Option<Duration>,

    /// Time limit for one VM
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = seconds)]
    pub timeout: Duration,

    /// End a VM that has printed nothing for this long [default: 120, or a minute more than the slowest scenario may take]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub idle_timeout: Option<Duration>,

    /// CPU accelerator of the VM; auto uses KVM if it works
    #[arg(long, value_enum, default_value_t)]
    pub accel: Mode,

    /// Boot every VM from scratch instead of restoring a saved one
    #[arg(long)]
    pub no_template: bool,

    /// Count instructions instead of time: measurements repeat to within a percent, but runs take longer; implies
    /// --serial
    #[arg(long, conflicts_with_all = ["accel", "cpus"])]
    pub icount: bool,

    /// Run the scenarios of a kernel one after the other instead of in parallel, to measure how long each takes
    #[arg(long)]
    pub serial: bool,

    /// Run this many VMs at once [default: by cores and free memory]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,

    /// Virtual CPUs of each VM [default: 2, or 1 with --icount]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub cpus: Option<u32>,

    /// Keep each VM's console, initramfs and QEMU command in this folder; only their owner can read them
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,

    /// What the user adds to each VM.
    #[command(flatten)]
    pub machine: MachineArgs,
}

impl Default for RunOptions {
    /// The defaults of the command line.
    fn default() -> Self {
        Self {
            scenario_timeout: None,
            timeout: Duration::from_secs(600),
            idle_timeout: None,
            accel: Mode::default(),
            no_template: false,
            icount: false,
            serial: false,
            jobs: None,
            cpus: None,
            keep: None,
            machine: MachineArgs::default(),
        }
    }
}

impl RunOptions {
    /// The virtual CPUs of each VM. Two find most races; QEMU counts instructions on one CPU only.
    pub(crate) fn cpus(&self) -> u32 {
        self.cpus.unwrap_or(if self.icount { 1 } else { 2 })
    }
}
