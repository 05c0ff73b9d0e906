//! Programs of the user's: what is to be done with one, and how it went.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How long one program may take, beside its command: it takes milliseconds, but an emulator is slow.
pub const TIME_LIMIT: Duration = Duration::from_secs(60);

/// The folder of the initramfs that holds the objects.
pub const OBJECTS_DIR: &str = "/objects";

/// One fexit program that is to be loaded, attached and detached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramTask {
    /// Its object, as a file in [`OBJECTS_DIR`].
    pub file: String,
    /// Its name.
    pub program: String,
    /// What it is loaded for; the function that its section names if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetSpec>,
}

/// What a program is loaded for, where its section does not say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetSpec {
    /// A function of the kernel: `FUNCTION` or `MODULE:FUNCTION`.
    Function(String),
    /// Another program, of this object or another one. It is loaded first.
    Program {
        /// Its object, as a file in [`OBJECTS_DIR`].
        file: String,
        /// Its name.
        program: String,
        /// The target of that program, where its section does not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<Box<Self>>,
        /// The subprogram; the program itself if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        function: Option<String>,
    },
    /// A program that is loaded already, by its id.
    Id {
        /// The id, as `bpftool prog` lists it.
        id: u32,
        /// The subprogram; the program itself if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        function: Option<String>,
    },
    /// A program that is pinned at this path in a BPF file system; its subprogram follows as `/SUBPROGRAM`.
    Pinned(String),
}

impl ProgramTask {
    /// Whether `other` is another program of the same object.
    pub fn is_sibling_of(&self, other: &Self) -> bool {
        self.file == other.file && self.program != other.program
    }
}

/// A command that runs before the programs are tried, or while one is attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShellCommand {
    /// The shell, an absolute path.
    pub shell: String,
    /// What it is told to do.
    pub script: String,
    /// For how long, in seconds; then it is killed.
    pub limit_s: u64,
}

impl ShellCommand {
    /// How long it may take.
    pub fn limit(&self) -> Duration {
        Duration::from_secs(self.limit_s)
    }
}

/// How one program went on one kernel, as the guest saw it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProgramResult {
    /// What happened.
    pub outcome: ProgramOutcome,
    /// From start to end, in microseconds; null if it never ran to its end.
    pub duration_us: Option<u64>,
    /// How far it came.
    pub stages: Stages,
    /// Why it does not work; null if it does.
    pub reason: Option<Reason>,
    /// What the verifier said, when it refused.
    pub log: Option<String>,
    /// The first warning or oops that the kernel printed meanwhile.
    pub splat: Option<String>,
    /// How often it ran while it was attached; null if it never was, or the kernel did not count.
    pub run_count: Option<u64>,
    /// How long a run took on average, in nanoseconds; null if it never ran.
    pub mean_ns: Option<u64>,
    /// How the command ended that ran meanwhile; null if there was none.
    pub trigger: Option<TriggerResult>,
    /// The other programs of the object that were attached meanwhile, too.
    #[serde(default)]
    pub alongside: Vec<String>,
    /// What the maps held afterwards; null if the program was never attached.
    pub maps: Option<Vec<MapDump>>,
    /// What the global variables held afterwards; null if the program was never attached.
    pub globals: Option<Vec<GlobalDump>>,
    /// What was left out of all this because there was too much of it, or could not be had.
    pub notes: Vec<String>,
}

/// What happened to a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProgramOutcome {
    /// It loads, attaches and detaches.
    Works,
    /// It does not, and the reason says why.
    Refused,
    /// The harness could not try it to the end, or it did something that it must not.
    Failed,
    /// It was still running at its time limit.
    TimedOut,
    /// The kernel panicked meanwhile.
    Panicked,
    /// It works, but the kernel printed a warning or an oops meanwhile.
    Splat,
    /// It was not tried, or not to the end, for a reason that has nothing to do with it.
    Skipped,
}

/// The stages of a program's life; null for one that was not reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stages {
    /// Relocated, and taken by the verifier.
    pub load: Option<Stage>,
    /// Attached to its target.
    pub attach: Option<Stage>,
    /// Detached and gone, with nothing left behind.
    pub detach: Option<Stage>,
}

/// One stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Whether it was passed.
    pub ok: bool,
    /// How long it took, in microseconds.
    pub us: u64,
}

/// Why a program does not work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// What sort of reason.
    pub kind: ReasonKind,
    /// In a sentence or two.
    pub text: String,
    /// What exists and has a similar name, if the target does not exist.
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

/// Sorts of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReasonKind {
    /// Neither its section nor an option names a target.
    NoTarget,
    /// The kernel has no such function, or its BTF does not list it.
    TargetMissing,
    /// Several functions have the target's name.
    TargetAmbiguous,
    /// The kernel allows no program on that target.
    TargetRefused,
    /// A type or field that the program reads is not in this kernel.
    #[serde(rename = "core-missing")]
    UnresolvedCoreRelocation,
    /// The program needs something that came with a later kernel.
    TooNew,
    /// The process may not do it, or kernel lockdown forbids it.
    Permission,
    /// The verifier refused it.
    Verifier,
    /// The object's parts do not fit together, or refer to what is not there.
    Relocation,
    /// A map could not be created.
    Map,
    /// It could not be attached.
    Attach,
    /// It could not be detached, or left something behind.
    Detach,
    /// Anything else.
    Other,
}

/// How the command ended that ran while the program was attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerResult {
    /// `exit status 0`, `signal 9`, that it was killed at its limit, or why it did not run.
    pub ended: String,
    /// Whether it ended with status 0.
    pub ok: bool,
    /// The end of what it printed.
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
    /// Keys and values: numbers if they have the size of one, else bytes in hexadecimal digits; for a map with a value
    /// for each CPU, a list of them. Null if it has no elements to be looked up.
    pub entries: Option<Vec<(Value, Value)>>,
    /// Whether it holds more than these.
    pub more: bool,
    /// What was in it, if it is a ring buffer.
    #[serde(default)]
    pub records: Option<Records>,
}

/// What was in a ring buffer when the programs were gone. Records that had no room were lost before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Records {
    /// How many records.
    pub count: u64,
    /// Their bytes together.
    pub bytes: u64,
    /// The first of them: numbers if they have the size of one, else bytes in hexadecimal digits.
    pub first: Vec<Value>,
}

/// A global variable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GlobalDump {
    /// Its name.
    pub name: String,
    /// A number if it is one, else bytes in hexadecimal digits.
    pub value: Value,
}

impl ProgramResult {
    /// A result of which nothing is known but how it ended, and why.
    pub fn bare(outcome: ProgramOutcome, kind: ReasonKind, text: impl Into<String>) -> Self {
        Self {
            outcome,
            duration_us: None,
            stages: Stages::default(),
            reason: Some(Reason::new(kind, text)),
            log: None,
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
    /// A reason that is no more than a text.
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
    /// Its name, as the report spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::TimedOut => "timed-out",
            Self::Panicked => "panicked",
            Self::Splat => "splat",
            Self::Skipped => "skipped",
        }
    }
}
