//! The types of the report.

use std::{collections::BTreeMap, time::Duration};

use fexit::KernelVersion;
use protocol::event::{Outcome, Refusal};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::program::{ObjectReport, ProgramReport};
use super::verdict::{Expected, KernelVerdict, Running, ScenarioVerdict};
use crate::kernels::{Arch, Source, Tree};

/// The version of the report's format.
pub const SCHEMA_VERSION: u32 = 2;

/// One run of the harness.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA_VERSION`] of the harness that wrote it.
    pub schema_version: u32,
    /// The version of the harness that wrote it.
    pub harness: String,
    /// `not-ok` if any kernel is, else `infra` if any kernel is, else `ok`.
    pub verdict: KernelVerdict,
    /// Which part of a run it is, as `2/5`; null if it is the whole one.
    #[serde(default)]
    pub shard: Option<String>,
    /// One entry for each requested kernel, in the order of the request.
    pub kernels: Vec<KernelReport>,
    /// The objects that the user gave, if any.
    #[serde(default)]
    pub objects: Vec<ObjectReport>,
    /// What all kernels together show about each feature's claimed minimum.
    pub minimums: Vec<Minimum>,
}

/// One kernel: its source, how it was booted, and the result of each scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KernelReport {
    /// The name that the user gave.
    pub requested: String,
    /// Its architecture, as `x86_64`.
    #[serde(default)]
    pub arch: Arch,
    /// `uname -r`; null when the kernel was not found.
    pub release: Option<String>,
    /// The upstream version, as `5.10.262`.
    pub version: Option<String>,
    /// The source of its files.
    pub source: Option<Source>,
    /// Whose source tree it was built from; null when the kernel was not found.
    #[serde(default)]
    pub tree: Option<Tree>,
    /// `kvm` or `tcg`; null when no VM was started.
    pub accelerator: Option<String>,
    /// Why that accelerator was chosen.
    pub accelerator_reason: Option<String>,
    /// Whether time was counted in instructions, one nanosecond each.
    #[serde(default)]
    pub icount: bool,
    /// Whether scenarios ran in parallel: then they took longer.
    #[serde(default)]
    pub side_by_side: bool,
    /// `template` if the VM started from a saved one, `cold` if it booted; null when no VM was started.
    #[serde(default)]
    pub boot: Option<String>,
    /// The version of QEMU.
    pub qemu_version: Option<String>,
    /// The memory of the VM, in MiB.
    pub memory_mb: Option<u64>,
    /// The virtual CPUs of the VM.
    #[serde(default)]
    pub cpus: Option<u32>,
    /// The kernel's command line.
    pub command_line: Option<String>,
    /// The QEMU command, ready for a shell.
    pub qemu_command: Option<String>,
    /// How many VMs were started; after a failure of the infrastructure the harness tries once more.
    pub attempts: u32,
    /// Each time that the kernel or the guest crashed and a new VM ran the rest.
    #[serde(default)]
    pub restarts: Vec<Restart>,
    /// The verdict on all scenarios and programs, and on the kernel itself.
    pub verdict: KernelVerdict,
    /// Why the run of this kernel did not finish; null when it did.
    pub error: Option<String>,
    /// The console's last lines; empty when all is ok.
    pub console_tail: Vec<String>,
    /// Problems that did not stop the run.
    pub warnings: Vec<String>,
    /// How long each phase took.
    pub phases_ms: Phases,
    /// Every selected scenario, in order, also those that were not reached.
    pub scenarios: Vec<ScenarioReport>,
    /// Every program of the user's objects, in the order in which they were tried.
    #[serde(default)]
    pub programs: Vec<ProgramReport>,
    /// With `--retries` and `--rerun-failed`: what failed before it ran again, in that order.
    #[serde(default)]
    pub earlier_tries: Vec<ResultSummary>,
    /// With `--repeat`: the result of each repetition.
    #[serde(default)]
    pub repetitions: Vec<Repetition>,
    /// In a merged report: the results of other reports that do not count.
    #[serde(default)]
    pub other_results: Vec<ResultSummary>,
}

/// A VM that crashed and was replaced by another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    /// The scenarios or the program that ran when it crashed.
    pub running: Vec<String>,
    /// How the VM ended.
    pub reason: String,
}

/// One repetition of the run of a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repetition {
    /// Its verdict.
    pub verdict: KernelVerdict,
    /// The ids of the scenarios and programs that were not ok.
    pub not_ok: Vec<String>,
}

/// Milliseconds spent in each phase; null for a phase that was not entered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Phases {
    /// Resolving the name to a file.
    pub resolve: Option<u64>,
    /// Downloading, verifying and unpacking it; close to 0 when it is cached.
    pub fetch: Option<u64>,
    /// Packing the initramfs.
    pub image: Option<u64>,
    /// Finding the VM's template, or saving one if there was none; null when templates are not used.
    #[serde(default)]
    pub template: Option<u64>,
    /// From starting QEMU to the guest's first event.
    pub boot: Option<u64>,
    /// The part of `scenarios` before the first scenario or program starts.
    #[serde(default)]
    pub setup: Option<u64>,
    /// From the guest's first event to the end of the VM.
    pub scenarios: Option<u64>,
    /// From resolving the name to the end.
    pub total: Option<u64>,
}

/// One scenario on one kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScenarioReport {
    /// Its id.
    pub id: String,
    /// The feature that it requires; null when it requires none.
    pub feature: Option<String>,
    /// The first kernel of this architecture on which it claims to pass; null when that is every kernel, or, if it requires a
    /// feature, when no release has that.
    pub minimum: Option<String>,
    /// Whether the kernel's BTF shows that feature; null when BTF cannot show it, or the scenario did not run.
    #[serde(default)]
    pub in_btf: Option<bool>,
    /// The expected outcome on this kernel; null when the kernel's version is not known.
    pub expected: Option<Expected>,
    /// What happened.
    pub outcome: Outcome,
    /// The outcome compared with the expected one.
    pub verdict: ScenarioVerdict,
    /// Whether it is ok after it had failed: see [`KernelReport::earlier_tries`].
    #[serde(default)]
    pub flaky: bool,
    /// How long it ran; null when it did not run to its end.
    pub duration_us: Option<u64>,
    /// Why it did not pass, was refused or was not reached; null when it passed.
    pub error: Option<String>,
    /// The refusal that the library gave, when it was unsupported.
    pub refusal: Option<Refusal>,
    /// Whether it passed below its minimum because the vendor of the kernel backported the feature.
    #[serde(default)]
    pub backported: bool,
    /// What else the kernel has, although the library's tables claim it from a later release on: `bpf_loop (5.17)`.
    #[serde(default)]
    pub backports: Vec<String>,
    /// The first warning or oops that the kernel printed while it ran.
    pub splat: Option<String>,
    /// Its measurements, each with its unit in its name.
    pub measurements: BTreeMap<String, Value>,
}

/// The result of a scenario, of a program, or of a kernel itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResultSummary {
    /// The scenario's id or [`ProgramReport::id`]; null for the kernel itself.
    pub id: Option<String>,
    /// The outcome; of the kernel itself, its verdict.
    pub outcome: String,
    /// How it was judged.
    pub verdict: ScenarioVerdict,
    /// Why it did not pass; null when it did.
    pub error: Option<String>,
}

/// A feature, its claimed minimum on an architecture, and the kernels that confirm it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Minimum {
    /// The architecture of the kernels.
    #[serde(default)]
    pub arch: Arch,
    /// The feature's name.
    pub feature: String,
    /// The first kernel that is claimed to have it; null if no release is.
    pub claimed: Option<String>,
    /// The newest kernel that refused it cleanly.
    pub refused_up_to: Option<String>,
    /// The oldest kernel that it passed on.
    pub passed_from: Option<String>,
    /// The kernels below the claim to which a vendor backported it. They do not contradict the claim.
    #[serde(default)]
    pub backported_on: Vec<String>,
    /// Whether the two confirm the claim.
    pub confirmed: Confirmed,
}

/// Whether a claimed minimum is confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confirmed {
    /// Refused below the claim, and passed at or above it.
    Both,
    /// Only one of the two was observed.
    OneSide,
    /// A kernel below the claim passed, or one at or above it refused.
    Contradicted,
    /// Neither was observed.
    Unconfirmed,
}

impl Report {
    /// The kernel that was requested by that name.
    pub fn kernel(&self, requested: &str) -> Option<&KernelReport> {
        self.kernels
            .iter()
            .find(|kernel| kernel.requested == requested)
    }
}

impl KernelReport {
    /// Its version and tree, if they are known.
    pub fn running(&self) -> Option<Running> {
        Some(Running {
            version: self.kernel_version()?,
            tree: self.tree.unwrap_or(Tree::Mainline),
            arch: self.arch,
        })
    }

    /// The upstream version, if it is known.
    pub fn kernel_version(&self) -> Option<KernelVersion> {
        self.version.as_deref()?.parse().ok()
    }

    /// The scenario with that id.
    pub fn scenario(&self, id: &str) -> Option<&ScenarioReport> {
        self.scenarios.iter().find(|scenario| scenario.id == id)
    }

    /// The program with that [`ProgramReport::id`].
    pub fn program(&self, id: &str) -> Option<&ProgramReport> {
        self.programs.iter().find(|program| program.id() == id)
    }

    /// The requested name, and the release if that is another.
    pub fn title(&self) -> String {
        match &self.release {
            Some(release) if *release != self.requested => {
                format!("{} ({release})", self.requested)
            }
            _ => self.requested.clone(),
        }
    }
}

/// Adds to the time of a phase that may be entered again.
pub(crate) fn add(phase: &mut Option<u64>, took: Duration) {
    *phase = Some(phase.unwrap_or(0) + ms(took));
}

/// The duration in milliseconds, as [`Phases`] has it.
pub(crate) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
