//! The programs of the user's objects: their tasks and results.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The time limit of one program, without its command. A program takes milliseconds, but an emulator is slow.
pub const TIME_LIMIT: Duration = Duration::from_secs(60);

/// The directory of the objects in the initramfs.
pub const OBJECTS_DIR: &str = "/objects";

/// One task after the scenarios.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// A program of an object.
    Program(ProgramTask),
    /// A command of the user; it works if its exit status is 0.
    Command(ShellCommand),
}

impl Task {
    /// The name of the program, or the script of the command.
    pub fn name(&self) -> &str {
        match self {
            Self::Program(task) => &task.program,
            Self::Command(command) => &command.script,
        }
    }

    /// The program, if it is one.
    pub fn program(&self) -> Option<&ProgramTask> {
        match self {
            Self::Program(task) => Some(task),
            Self::Command(_) => None,
        }
    }
}

/// One program to load, and to attach and detach if its type is attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramTask {
    /// Its object, as a file in [`OBJECTS_DIR`].
    pub file: String,
    /// Its name.
    pub program: String,
    /// Its target; by default the function in its section.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetSpec>,
}

/// The target of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetSpec {
    /// A function of the kernel: `FUNCTION` or `MODULE:FUNCTION`.
    Function(String),
    /// Another program, of this or another object. It is loaded first.
    Program {
        /// Its object, as a file in [`OBJECTS_DIR`].
        file: String,
        /// Its name.
        program: String,
        /// The target of that program; by default that of its section.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<Box<Self>>,
        /// The subprogram; the program itself if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        function: Option<String>,
    },
    /// A loaded program, by its id.
    Id {
        /// The id, as in `bpftool prog`.
        id: u32,
        /// The subprogram; the program itself if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        function: Option<String>,
    },
    /// A pinned program, by its path in a BPF file system; `/SUBPROGRAM` may follow.
    Pinned(String),
}

impl ProgramTask {
    /// Whether `other` is another program of the same object.
    pub fn is_sibling_of(&self, other: &Self) -> bool {
        self.file == other.file && self.program != other.program
    }
}

/// A command that runs before the programs, or while one is attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShellCommand {
    /// The shell, an absolute path.
    pub shell: String,
    /// The script for `-c`.
    pub script: String,
    /// The folder in which it runs: that of the harness.
    pub folder: String,
    /// Its time limit in seconds.
    pub limit_s: u64,
    /// Additional environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<(String, String)>,
}

impl ShellCommand {
    /// Its time limit.
    pub fn limit(&self) -> Duration {
        Duration::from_secs(self.limit_s)
    }
}

/// The result of one program on one kernel, as the guest saw it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProgramResult {
    /// What happened.
    pub outcome: ProgramOutcome,
    /// From start to end, in microseconds; null if it did not finish.
    pub duration_us: Option<u64>,
    /// The stages that it reached.
    pub stages: Stages,
    /// Why it does not work; null if it does.
    pub reason: Option<Reason>,
    /// The verifier log, if the verifier refused the program.
    pub log: Option<String>,
    /// What the verifier spent on it; null if it was not verified, or the kernel prints no figures (before 5.2).
    #[serde(default)]
    pub verifier: Option<VerifierFigures>,
    /// The first warning or oops that the kernel logged meanwhile.
    pub splat: Option<String>,
    /// How often it ran while attached; null if it was not attached, or the kernel does not count.
    pub run_count: Option<u64>,
    /// The mean time of a run in nanoseconds; null if it did not run.
    pub mean_ns: Option<u64>,
    /// The result of the trigger command, or of the command itself; null if there was none.
    pub trigger: Option<TriggerResult>,
    /// The other programs of the object that were attached at the same time.
    #[serde(default)]
    pub alongside: Vec<String>,
    /// The contents of the maps afterwards; null if the program was not attached.
    pub maps: Option<Vec<MapDump>>,
    /// The global variables afterwards; null if the program was not attached.
    pub globals: Option<Vec<GlobalDump>>,
    /// What is missing from this result because it was too long or failed.
    pub notes: Vec<String>,
}

/// What happened to a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProgramOutcome {
    /// It loads, attaches and detaches.
    Works,
    /// It loads: the verifier accepted it. Programs of its type are not attached here.
    Verified,
    /// It does not; the reason says why.
    Refused,
    /// The harness could not run it to the end, or it did something forbidden.
    Failed,
    /// It was still running at its time limit.
    TimedOut,
    /// The kernel panicked meanwhile.
    Panicked,
    /// It works, but the kernel printed a warning or an oops meanwhile.
    Splat,
    /// It did not run, or not to the end, for a reason unrelated to it.
    Skipped,
}

/// The stages of a program; null for a stage that was not reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stages {
    /// Relocated, and accepted by the verifier.
    pub load: Option<Stage>,
    /// Attached to its target.
    pub attach: Option<Stage>,
    /// Detached and freed, without leaks.
    pub detach: Option<Stage>,
}

/// One stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Whether it succeeded.
    pub ok: bool,
    /// Its duration in microseconds.
    pub us: u64,
}

/// Why a program does not work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The type of reason.
    pub kind: ReasonKind,
    /// One or two sentences.
    pub text: String,
    /// Existing names that are similar, if the target does not exist.
    #[serde(default)]
    pub nearest: Vec<String>,
    /// The types and fields that this kernel does not have.
    #[serde(default)]
    pub missing: Vec<String>,
    /// The feature or helper that this kernel does not have.
    #[serde(default)]
    pub feature: Option<String>,
    /// The first kernel that has it.
    #[serde(default)]
    pub minimum: Option<String>,
}

/// Types of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReasonKind {
    /// Neither its section nor an option gives a target.
    NoTarget,
    /// Its type is not known, or it is only loaded together with something else.
    NotCovered,
    /// The kernel has no such function, or its BTF does not list it.
    TargetMissing,
    /// The target's name is ambiguous.
    TargetAmbiguous,
    /// The kernel allows no fexit program on that target.
    TargetRefused,
    /// A type or field that the program reads is not in this kernel.
    #[serde(rename = "core-missing")]
    UnresolvedCoreRelocation,
    /// The program requires something that came with a later kernel.
    TooNew,
    /// The process lacks a capability, or kernel lockdown forbids it.
    Permission,
    /// The verifier refused it.
    Verifier,
    /// A relocation failed: the object is inconsistent, or refers to a missing symbol.
    Relocation,
    /// A map could not be created.
    Map,
    /// The command ended with another status than 0.
    Command,
    /// It could not be attached.
    Attach,
    /// It could not be detached, or leaked something.
    Detach,
    /// Anything else.
    Other,
}

/// What the verifier spent on a program, and the size of the program. Sizes are null for a refused program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifierFigures {
    /// The instructions that it processed, over all paths.
    pub instructions_processed: u64,
    /// The instructions that it may process.
    pub instruction_limit: u64,
    /// The states that it kept, over all of the verification.
    pub total_states: u64,
    /// The most states that it kept at a time.
    pub peak_states: u64,
    /// The most states that it kept for one instruction.
    pub max_states_per_instruction: u64,
    /// The largest stack of a function in bytes; null if the kernel does not print it.
    pub stack_depth: Option<u32>,
    /// The duration of the verification in microseconds; null if the kernel does not print it.
    pub verification_time_us: Option<u64>,
    /// The instructions of the program as it was loaded.
    pub instructions: Option<u64>,
    /// The instructions of its longest function.
    pub longest_function: Option<u64>,
    /// The instructions after the verifier rewrote it.
    pub instructions_translated: Option<u64>,
    /// The size of its machine code in bytes; 0 if it is interpreted.
    pub jited_bytes: Option<u64>,
}

/// The result of the trigger command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerResult {
    /// `exit status 0`, `signal 9`, that it was killed at its time limit, or why it did not run.
    pub ended: String,
    /// Whether it ended with status 0.
    pub ok: bool,
    /// The end of its output.
    pub output: String,
}

/// The first elements of a map.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MapDump {
    /// Its name.
    pub name: String,
    /// Its type, as `hash`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Keys and values: numbers if they have the size of one, else bytes in hexadecimal; for a per-CPU map a list of
    /// values. Null if the map type has no elements to look up.
    pub entries: Option<Vec<(Value, Value)>>,
    /// Whether the map has more elements.
    pub more: bool,
    /// The records, if it is a ring buffer.
    #[serde(default)]
    pub records: Option<Records>,
}

/// The records in a ring buffer after the programs were detached. Records that did not fit are lost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Records {
    /// How many records.
    pub count: u64,
    /// Their total size in bytes.
    pub bytes: u64,
    /// The first records: numbers if they have the size of one, else bytes in hexadecimal.
    pub first: Vec<Value>,
}

/// A global variable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GlobalDump {
    /// Its name.
    pub name: String,
    /// A number if it is an integer, else bytes in hexadecimal.
    pub value: Value,
}

impl ProgramResult {
    /// A result with only an outcome and a reason.
    pub fn bare(outcome: ProgramOutcome, kind: ReasonKind, text: impl Into<String>) -> Self {
        Self {
            outcome,
            duration_us: None,
            stages: Stages::default(),
            reason: Some(Reason::new(kind, text)),
            log: None,
            verifier: None,
            splat: None,
            run_count: None,
            mean_ns: None,
            trigger: None,
            alongside: Vec::new(),
            maps: None,
            globals: None,
            notes: Vec::new(),
        }
    }
}

impl Reason {
    /// A reason with only a text.
    pub fn new(kind: ReasonKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
            nearest: Vec::new(),
            missing: Vec::new(),
            feature: None,
            minimum: None,
        }
    }
}

impl ProgramOutcome {
    /// Its name in the report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Verified => "verified",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::TimedOut => "timed-out",
            Self::Panicked => "panicked",
            Self::Splat => "splat",
            Self::Skipped => "skipped",
        }
    }
}
