//! What the host asks the guest to do: one JSON file in the initramfs.

use serde::{Deserialize, Serialize};

/// Where the guest finds its job, an absolute path inside the initramfs.
pub const JOB_PATH: &str = "/job.json";

/// The folder of the initramfs that holds kernel modules (`NAME.ko`, already uncompressed).
pub const MODULES_DIR: &str = "/modules";

/// The serial port that carries the events, and nothing else. The console is `ttyS0`.
pub const EVENT_PORT: &str = "/dev/ttyS1";

/// The work of one VM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Ids of the scenarios to run, in this order.
    pub scenarios: Vec<String>,
    /// Modules to load before the first scenario, in this order, as names of files in [`MODULES_DIR`] without `.ko`.
    #[serde(default)]
    pub modules: Vec<String>,
    /// A longer time limit for each scenario, in seconds; a scenario's own limit holds when it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario_timeout_s: Option<u64>,
}
