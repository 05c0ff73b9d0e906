//! What the host asks the guest to do: one JSON file in the initramfs.

use std::ffi::OsString;

use serde::{Deserialize, Serialize};

use crate::frame::Window;
use crate::program::{ProgramTask, ShellCommand};

/// Where the guest finds its job, an absolute path inside the initramfs.
pub const JOB_PATH: &str = "/job.json";

/// The folder of the initramfs that holds kernel modules (`NAME.ko`, already uncompressed).
pub const MODULES_DIR: &str = "/modules";

/// The serial port that carries the events, and nothing else. The console is `ttyS0`.
pub const EVENT_PORT: &str = "/dev/ttyS1";

/// The serial port that carries the output of a [`Command`], as [`crate::frame`] has it.
pub const OUTPUT_PORT: &str = "/dev/ttyS2";

/// The serial port that carries its input, if it has any.
pub const INPUT_PORT: &str = "/dev/ttyS3";

/// What one VM is given to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// What it is there for.
    pub work: Work,
    /// What every event must bear, so that nobody but `/init` can report anything. It is drawn anew for each run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub token: String,
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
    /// To run scenarios, and then to try programs of the user's, one after the other.
    Scenarios {
        /// Their ids.
        ids: Vec<String>,
        /// Whether all scenarios run serially, in that order; otherwise the parallel ones run in parallel.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        serial: bool,
        /// A longer time limit for each, in seconds; a scenario's own limit holds when it is absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_s: Option<u64>,
        /// Programs of the user's, to be tried after the scenarios, in this order.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        programs: Vec<ProgramTask>,
        /// Places in `programs` of those that were tried in another VM: not again in this one.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tried: Vec<usize>,
        /// Of these, the ones that ended their VM: they are not attached beside the others either.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        crashed: Vec<usize>,
        /// The command that runs once before they are tried.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prepare: Option<ShellCommand>,
        /// The command that runs while each of them is attached.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trigger: Option<ShellCommand>,
    },
    /// To run a program of the host's.
    Command(Command),
}

/// A program to run, and what it is to find. None of it need be Unicode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Its path, absolute or from the working directory.
    pub program: OsString,
    /// Its arguments, beginning with its own name.
    pub arguments: Vec<OsString>,
    /// Its environment, all of it.
    pub environment: Vec<(OsString, OsString)>,
    /// Its working directory.
    pub folder: OsString,
    /// Where its standard streams lead to.
    pub streams: Streams,
}

/// Where the standard streams of a program lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Streams {
    /// Output and errors to the host's, each by itself; there is no input.
    Output,
    /// Input comes from the host, too.
    All,
    /// All three to a terminal of this size.
    Terminal(Window),
}

impl Job {
    /// A job that needs no modules.
    pub fn new(work: Work) -> Self {
        Self {
            work,
            token: String::new(),
            modules: Vec::new(),
        }
    }
}
