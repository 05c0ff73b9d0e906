//! The events of the guest: one JSON object per line.
//!
//! The order is fixed: `ready`; then `started` and `finished` for each scenario, or `running` and `exited` for a command of
//! the host; then `done`. Events of scenarios that run in parallel interleave. A scenario that runs again sends both
//! events again, and one whose result changes later sends `finished` again: the last result counts. A run whose last event
//! is not `done` did not finish; its earlier events still count.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::program::ProgramResult;

/// One line on the event channel: an event and the token of the job, which proves that `/init` sent it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Signed<E = Event> {
    /// [`crate::job::Job::token`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub token: String,
    /// The event.
    #[serde(flatten)]
    pub event: E,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// `/init` runs, and the file systems that eBPF requires are mounted.
    Ready {
        /// `uname -r`.
        release: String,
        /// Microseconds since the kernel started.
        uptime_us: u64,
    },
    /// A VM template is ready to be saved. `/init` itself never sends this.
    Waiting,
    /// A part of the setup failed; the scenarios that need it report so.
    Warning {
        /// What failed, and why.
        message: String,
    },
    /// The guest cannot continue in this VM, and ends. This is no verdict on its scenarios and programs.
    CannotGoOn {
        /// Why.
        message: String,
    },
    /// A scenario starts.
    Started {
        /// Its id.
        scenario: String,
    },
    /// A scenario ended.
    Finished {
        /// Its id.
        scenario: String,
        /// Its result.
        #[serde(flatten)]
        result: ScenarioResult,
    },
    /// A command of the host starts. From now on there is no idle timeout.
    Running,
    /// The command exited, and all its output is sent.
    Exited {
        /// Its exit status, or the signal that killed it.
        #[serde(flatten)]
        how: Exit,
        /// From start to end, in microseconds.
        duration_us: u64,
    },
    /// A program of the user's object starts.
    ProgramStarted {
        /// Its index in the job.
        index: usize,
        /// Its name.
        program: String,
    },
    /// A program of the user's object ended.
    ProgramFinished {
        /// Its index in the job.
        index: usize,
        /// Its result.
        #[serde(flatten)]
        result: Box<ProgramResult>,
    },
    /// All scenarios and programs of the job ended.
    Done {
        /// How many scenarios ran.
        scenarios: usize,
    },
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// It exited with this status.
    Code(u8),
    /// This signal killed it.
    Signal(u8),
}

/// The result of one scenario, as the guest saw it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScenarioResult {
    /// What happened.
    pub outcome: Outcome,
    /// From start to end, in microseconds.
    pub duration_us: u64,
    /// Why it did not pass; absent when it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The library's refusal, if the outcome is `unsupported`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
    /// Whether the kernel's BTF shows the feature that the scenario requires; absent if BTF cannot show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_btf: Option<bool>,
    /// What the kernel has, although the library's tables claim it from a later release on: `bpf_loop (5.17)`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backports: Vec<String>,
    /// Measurements of the scenario, each with its unit in its name (`fexit_ns`, `programs`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub measurements: BTreeMap<String, Value>,
    /// The first warning or oops that the kernel logged while it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub splat: Option<String>,
}

impl ScenarioResult {
    /// A result with this outcome and error, of no duration.
    pub fn new(outcome: Outcome, error: Option<String>) -> Self {
        Self {
            outcome,
            duration_us: 0,
            error,
            refusal: None,
            in_btf: None,
            backports: Vec::new(),
            measurements: BTreeMap::new(),
            splat: None,
        }
    }

    /// Whether the guest saw nothing wrong.
    pub fn is_well(&self) -> bool {
        let well = [Outcome::Passed, Outcome::Unsupported, Outcome::Skipped];
        well.contains(&self.outcome) && self.splat.is_none()
    }
}

/// A clean refusal by the library: the running kernel lacks the feature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The feature's name.
    pub feature: String,
    /// The first kernel that has it on this architecture, as `5.19`; `None` if none is known to have it.
    pub minimum: Option<String>,
}

/// What happened to a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It passed.
    Passed,
    /// The library refused cleanly, and named the feature and its minimum kernel.
    Unsupported,
    /// It failed.
    Failed,
    /// It did not run, for the given reason.
    Skipped,
    /// It was still running at its time limit.
    TimedOut,
    /// The kernel panicked while it ran.
    Panicked,
    /// It passed, but the kernel printed a warning or an oops while it ran.
    Splat,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finished_event_is_one_flat_line() {
        let event = Event::Finished {
            scenario: "attach".into(),
            result: ScenarioResult {
                duration_us: 7,
                ..ScenarioResult::new(Outcome::TimedOut, Some("two\nlines".into()))
            },
        };
        let line = serde_json::to_string(&event).unwrap();
        assert_eq!(
            line,
            r#"{"event":"finished","scenario":"attach","outcome":"timed-out","duration_us":7,"error":"two\nlines"}"#
        );
        assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
    }

    #[test]
    fn truncated_or_unknown_event_is_an_error() {
        assert!(serde_json::from_str::<Event>(r#"{"event":"started","scen"#).is_err());
        assert!(serde_json::from_str::<Event>(r#"{"event":"launched"}"#).is_err());
    }
}
