//! What the host asks the guest to do: one JSON file in the initramfs.

use serde::{Deserialize, Serialize};

/// Where the guest finds its job, an absolute path inside the initramfs.
pub const JOB_PATH: &str = "/job.json";

/// The folder of the initramfs that holds kernel modules (`NAME.ko`, already uncompressed).
pub const MODULES_DIR: &str = "/modules";

/// The serial port that carries the events, and nothing else. The console is `ttyS0`.
pub const EVENT_PORT: &str = "/dev/ttyS1";

/// What one VM is given to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// What it is there for.
    pub work: Work,
    /// Modules to load before the work begins, in this order, as names of files in [`MODULES_DIR`] without `.ko`.
    #[serde(default)]
    pub modules: Vec<String>,
}

/// What `/init` writes into the kernel's log before the first scenario. It must come out on the console: where it does
/// not, the complaints of the kernel would not either.
pub const LOG_MARK: &str = "fexit: the first scenario is about to begin";

/// The work of one VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Work {
    /// To run scenarios, one after the other.
    Scenarios {
        /// Their ids, in the order in which they run.
        ids: Vec<String>,
        /// A longer time limit for each, in seconds; a scenario's own limit holds when it is absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_s: Option<u64>,
    },
}

impl Job {
    /// A job that needs no modules.
    pub fn new(work: Work) -> Self {
        Self {
            work,
            modules: Vec::new(),
        }
    }
}
