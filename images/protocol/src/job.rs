//! The job of a VM: one JSON file in the initramfs.

use std::ffi::OsString;

use serde::{Deserialize, Serialize};

use crate::frame::Window;
use crate::program::{ShellCommand, Task};

/// The path of the job in the initramfs.
pub const JOB_PATH: &str = "/job.json";

/// The directory of kernel modules (`NAME.ko`, uncompressed) in the initramfs.
pub const MODULES_DIR: &str = "/modules";

/// The serial port for events only. The console is `ttyS0`.
pub const EVENT_PORT: &str = "/dev/ttyS1";

/// The serial port for the output of a [`Command`], framed as in [`crate::frame`].
pub const OUTPUT_PORT: &str = "/dev/ttyS2";

/// The serial port for its input, if any.
pub const INPUT_PORT: &str = "/dev/ttyS3";

/// The job of one VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The work.
    pub work: Work,
    /// The token in every event, so that only `/init` can report. Random for each run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub token: String,
    /// Modules to load first, in this order: names of files in [`MODULES_DIR`] without `.ko`.
    #[serde(default)]
    pub modules: Vec<String>,
}

/// The marker that `/init` writes to the kernel's log before the first scenario. It must appear on the console; otherwise
/// splats would not appear there either.
pub const LOG_MARK: &str = "fexit: the first scenario is about to begin";

/// The work of one VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Work {
    /// Runs scenarios, then the programs of the user's objects serially.
    Scenarios {
        /// The ids of the scenarios.
        ids: Vec<String>,
        /// Whether all scenarios run serially, in that order; otherwise the parallel ones run in parallel.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        serial: bool,
        /// A longer time limit for each, in seconds; by default the scenario's own limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_s: Option<u64>,
        /// Modules of the user that are loaded before the programs run: names of files in [`MODULES_DIR`] without `.ko`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        own_modules: Vec<String>,
        /// The programs of the user's objects, and the user's command, which run after the scenarios in this order.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        programs: Vec<Task>,
        /// Indices in `programs` of those that ran in an earlier VM: they do not run again.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tried: Vec<usize>,
        /// Those of them that crashed their VM: they are not attached together with others either.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        crashed: Vec<usize>,
        /// The command that runs once before the programs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prepare: Option<ShellCommand>,
        /// The command that runs while each program is attached.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trigger: Option<ShellCommand>,
    },
    /// Runs a command of the host.
    Command(Command),
}

/// A command with its environment. The strings need not be UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Its path, absolute or relative to the working directory.
    pub program: OsString,
    /// Its arguments; the first is the name that the program sees as its own.
    pub arguments: Vec<OsString>,
    /// Its whole environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Its working directory.
    pub folder: OsString,
    /// Its standard streams.
    pub streams: Streams,
    /// Folders of the host to mount before: the device of each has the [`tag`] of its index.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Files and folders that the host wants after the command has ended: absolute paths. Each is sent as a tar archive with
    /// one entry [`OUT`], and what is below it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub out: Vec<OsString>,
}

/// A folder of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where it is mounted.
    pub target: OsString,
    /// Whether it is mounted read-only.
    pub read_only: bool,
}

/// The virtiofs tag of a folder of the host.
pub fn tag(index: usize) -> String {
    format!("mount{index}")
}

/// The limit for the bytes of all archives of a VM together.
pub const OUT_BYTES: u64 = 1 << 30;

/// The name in its archive of a file or folder that is copied to the host.
pub const OUT: &str = "out";

/// The standard streams of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Streams {
    /// Standard output and standard error go to the host separately; there is no input.
    Output,
    /// Also standard input comes from the host.
    All,
    /// A terminal of this size.
    Terminal(Window),
}

impl Job {
    /// A job without modules and token.
    pub fn new(work: Work) -> Self {
        Self {
            work,
            token: String::new(),
            modules: Vec::new(),
        }
    }
}
