//! How the VMs of a run are run.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use crate::{support::seconds::seconds, vm::Mode};

/// The options of a run, whoever asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct RunOptions {
    /// A longer limit for each scenario, for a slow machine
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub scenario_timeout: Option<Duration>,

    /// The limit for one VM, from start to end
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = seconds)]
    pub timeout: Duration,

    /// The limit for a VM of which nothing is heard [default: 120, or a minute more than the slowest scenario may take]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub silence: Option<Duration>,

    /// How to run the VM's CPU; auto takes KVM if it works
    #[arg(long, value_enum, default_value_t)]
    pub accel: Mode,

    /// Boot every VM from the start, instead of from a saved one
    #[arg(long)]
    pub no_template: bool,

    /// Count instructions instead of time: figures of scenarios repeat to a percent, and every run is slower; implies
    /// --in-turn
    #[arg(long, conflicts_with = "accel")]
    pub icount: bool,

    /// Run the scenarios of a kernel one after the other, not several side by side: to measure how long each takes
    #[arg(long)]
    pub in_turn: bool,

    /// How many VMs at once [default: by cores and free memory]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,

    /// Keep each VM's console, initramfs and QEMU command in this folder; only their owner can read them
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}

impl Default for RunOptions {
    /// What the command line means if it has none of them.
    fn default() -> Self {
        Self {
            scenario_timeout: None,
            timeout: Duration::from_secs(600),
            silence: None,
            accel: Mode::default(),
            no_template: false,
            icount: false,
            in_turn: false,
            jobs: None,
            keep: None,
        }
    }
}
