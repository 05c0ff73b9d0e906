//! The report: what one run of the harness saw, in a versioned format that scripts may rely on.
//!
//! `docs/report.md` describes the format for its readers and `docs/report.schema.json` for machines. Fields are
//! added as needed; none is renamed or removed without a new [`SCHEMA_VERSION`].

pub mod compare;
pub mod file;
pub mod github;
pub mod instructions;
pub mod junit;
pub mod markdown;
pub mod merge;
pub mod minimums;
pub mod observed;
pub mod program;
pub mod slowdown;
pub mod summary;
pub mod terminal;
#[cfg(test)]
pub(crate) mod testing;
pub mod verdict;

use std::{collections::BTreeMap, time::Duration};

use protocol::event::{Outcome, Refusal};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use crate::kernels::Source;
pub use minimums::Minimum;
pub use program::{ObjectReport, ProgramReport};
pub use verdict::{Expected, KernelVerdict, ScenarioVerdict};

/// The version of the report's format.
pub const SCHEMA_VERSION: u32 = 1;

/// One run of the harness.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA_VERSION`] of the harness that wrote it.
    pub schema_version: u32,
    /// The version of the harness that wrote it.
    pub harness: String,
    /// The worst that was seen: something not-ok, else anything that could not be judged, else ok.
    pub verdict: KernelVerdict,
    /// One entry for each kernel asked for, in the order asked.
    pub kernels: Vec<KernelReport>,
    /// The objects of the user's, if any.
    #[serde(default)]
    pub objects: Vec<ObjectReport>,
    /// What all kernels together say about each feature's claimed minimum.
    pub minimums: Vec<Minimum>,
}

/// One kernel: where it came from, how it was booted, how each scenario went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KernelReport {
    /// What the user asked for.
    pub requested: String,
    /// `uname -r`; null when it is not known because the kernel was never found.
    pub release: Option<String>,
    /// The upstream version, as `5.10.262`.
    pub version: Option<String>,
    /// Where its files came from.
    pub source: Option<Source>,
    /// `kvm` or `tcg`; null when no VM was started.
    pub accelerator: Option<String>,
    /// Why that accelerator.
    pub accelerator_reason: Option<String>,
    /// Whether time was counted in instructions, one nanosecond each.
    #[serde(default)]
    pub icount: bool,
    /// Whether scenarios ran several at once: then they took longer.
    #[serde(default)]
    pub side_by_side: bool,
    /// `template` if the VM started from a saved one, `cold` if it booted; null when no VM was started.
    #[serde(default)]
    pub boot: Option<String>,
    /// The version of QEMU.
    pub qemu_version: Option<String>,
    /// The memory of the VM, in MiB.
    pub memory_mb: Option<u64>,
    /// The kernel's command line.
    pub command_line: Option<String>,
    /// The QEMU command, ready for a shell.
    pub qemu_command: Option<String>,
    /// How many VMs were started; a failure of the infrastructure is tried once more.
    pub attempts: u32,
    /// Each time that the kernel or the guest broke down and a new VM went on with the rest.
    #[serde(default)]
    pub restarts: Vec<Restart>,
    /// What the scenarios add up to.
    pub verdict: KernelVerdict,
    /// Why the run of this kernel did not finish; null when it did.
    pub error: Option<String>,
    /// The console's last lines; empty when all is ok.
    pub console_tail: Vec<String>,
    /// What did not work as it should, yet stopped nothing.
    pub warnings: Vec<String>,
    /// How long each phase took.
    pub phases_ms: Phases,
    /// Every scenario asked for, in order, also those that were never reached.
    pub scenarios: Vec<ScenarioReport>,
    /// Every program of the user's, in the order in which they were tried.
    #[serde(default)]
    pub programs: Vec<ProgramReport>,
    /// In a merged report: the results that do not count, because another report has a worse one, or one at all.
    #[serde(default)]
    pub other_results: Vec<OtherResult>,
}

/// A result that another report has, and that does not count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OtherResult {
    /// The scenario's id or [`ProgramReport::id`]; null for the kernel as a whole.
    pub id: Option<String>,
    /// The outcome; of the kernel as a whole, its verdict.
    pub outcome: String,
    /// How it was judged.
    pub verdict: ScenarioVerdict,
    /// Why it did not pass; null when it did.
    pub error: Option<String>,
}

impl OtherResult {
    fn of_scenario(scenario: &ScenarioReport) -> Self {
        Self {
            id: Some(scenario.id.clone()),
            outcome: verdict::outcome_name(scenario.outcome).to_owned(),
            verdict: scenario.verdict,
            error: scenario.error.clone(),
        }
    }

    fn of_program(program: &ProgramReport) -> Self {
        Self {
            id: Some(program.id()),
            outcome: program.result.outcome.name().to_owned(),
            verdict: program.verdict,
            error: program.why().map(str::to_owned),
        }
    }
}

/// A VM that ended before its time, and was followed by another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    /// The scenarios that ran then, or the program.
    pub running: Vec<String>,
    /// How it ended.
    pub reason: String,
}

/// Milliseconds spent in each phase; null for a phase that was never entered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Phases {
    /// Resolving the name to a file.
    pub resolve: Option<u64>,
    /// Downloading, verifying and unpacking it; next to nothing when it is cached.
    pub fetch: Option<u64>,
    /// Packing the initramfs.
    pub image: Option<u64>,
    /// Looking for the VM's template, and making it if there was none; null when it was to boot anyway.
    #[serde(default)]
    pub template: Option<u64>,
    /// From starting QEMU to the guest's first event.
    pub boot: Option<u64>,
    /// Of the next phase, what goes by before the first scenario or program begins.
    #[serde(default)]
    pub setup: Option<u64>,
    /// From the guest's first event to the end of the VM.
    pub scenarios: Option<u64>,
    /// All of it, as the user waited.
    pub total: Option<u64>,
}

/// Adds to the time of a phase that is come to again.
pub(crate) fn add(phase: &mut Option<u64>, took: Duration) {
    *phase = Some(phase.unwrap_or(0) + ms(took));
}

/// As a phase has it.
pub(crate) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// One scenario on one kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScenarioReport {
    /// Its id.
    pub id: String,
    /// The feature that it needs; null when it needs none.
    pub feature: Option<String>,
    /// The first kernel that it claims to pass on; null when it is every one.
    pub minimum: Option<String>,
    /// What the claim says of this kernel; null when the kernel's version is not known.
    pub expected: Option<Expected>,
    /// What happened.
    pub outcome: Outcome,
    /// What happened held against what was expected.
    pub verdict: ScenarioVerdict,
    /// How long it ran; null when it never ran or never ended.
    pub duration_us: Option<u64>,
    /// Why it did not pass, was refused or was not reached; null when it passed.
    pub error: Option<String>,
    /// The refusal that the library gave, when it was unsupported.
    pub refusal: Option<Refusal>,
    /// Whether it passed below its minimum because the kernel backported the feature.
    #[serde(default)]
    pub backported: bool,
    /// The first warning or oops that the kernel printed meanwhile.
    pub splat: Option<String>,
    /// Figures that it took, each with its unit in its name.
    pub measurements: BTreeMap<String, Value>,
}

impl Report {
    /// Puts finished and unfinished kernels together and draws the conclusions: verdicts and minimums.
    pub fn new(kernels: Vec<KernelReport>) -> Self {
        let mut report = Self {
            schema_version: SCHEMA_VERSION,
            harness: env!("CARGO_PKG_VERSION").to_owned(),
            verdict: KernelVerdict::Infra,
            kernels,
            objects: Vec::new(),
            minimums: Vec::new(),
        };
        report.conclude();
        report
    }

    /// Draws the conclusions again, after a kernel changed.
    pub fn conclude(&mut self) {
        self.verdict = KernelVerdict::worst(self.kernels.iter().map(|kernel| kernel.verdict));
        self.minimums = minimums::observe(&self.kernels);
    }
}

impl KernelReport {
    /// The scenario of that id.
    pub fn scenario(&self, id: &str) -> Option<&ScenarioReport> {
        self.scenarios.iter().find(|scenario| scenario.id == id)
    }

    /// The program of that [`ProgramReport::id`].
    pub fn program(&self, id: &str) -> Option<&ProgramReport> {
        self.programs.iter().find(|program| program.id() == id)
    }

    /// Those of [`Self::other_results`] that say something else than the result that counts.
    pub fn contradicting_results(&self) -> impl Iterator<Item = &OtherResult> {
        self.other_results.iter().filter(|other| {
            let Some(id) = &other.id else { return true };
            let counted = self.scenario(id).map(|s| verdict::outcome_name(s.outcome));
            let counted = counted.or_else(|| self.program(id).map(|p| p.result.outcome.name()));
            counted != Some(other.outcome.as_str())
        })
    }

    /// How many scenarios and programs have that verdict.
    pub fn count(&self, verdict: ScenarioVerdict) -> usize {
        let scenarios = self.scenarios.iter().map(|scenario| scenario.verdict);
        let programs = self.programs.iter().map(|program| program.verdict);
        scenarios.chain(programs).filter(|v| *v == verdict).count()
    }

    /// How a person calls this kernel: what was asked for, and what that turned out to be.
    pub fn title(&self) -> String {
        match &self.release {
            Some(release) if *release != self.requested => {
                format!("{} ({release})", self.requested)
            }
            _ => self.requested.clone(),
        }
    }
}
