//! What the guest reports: one JSON object a line.
//!
//! The order is always the same: `ready`; then for each scenario `started` and `finished`, or for a program of the
//! host's `running` and `exited`; then `done`. Scenarios that run side by side are told of as they come. One that is
//! tried again has both events again, and one that is blamed afterwards the second: the last counts. A run whose last
//! event is not `done` did not finish, and whatever it reported before still counts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::program::ProgramResult;

/// One line on the event channel: an event, and the token of the job that shows who sent it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Signed<E = Event> {
    /// [`crate::job::Job::token`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub token: String,
    /// What is reported.
    #[serde(flatten)]
    pub event: E,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// `/init` runs, and what eBPF needs is mounted.
    Ready {
        /// `uname -r`.
        release: String,
        /// Microseconds since the kernel started.
        uptime_us: u64,
    },
    /// A VM that is to be a template waits to be saved. Never comes from `/init` itself.
    Waiting,
    /// Something of the set-up did not work; the scenarios that need it will say so.
    Warning {
        /// What, and why.
        message: String,
    },
    /// The guest ends here: it cannot work in this VM. That is no verdict on what it was asked to run.
    CannotGoOn {
        /// Why.
        message: String,
    },
    /// A scenario begins.
    Started {
        /// Its id.
        scenario: String,
    },
    /// A scenario is over.
    Finished {
        /// Its id.
        scenario: String,
        /// How it went.
        #[serde(flatten)]
        result: ScenarioResult,
    },
    /// A program of the host's begins. From now on it may be silent for as long as it likes.
    Running,
    /// The program is over, and all its output has been sent.
    Exited {
        /// Its exit status, or the signal that ended it.
        #[serde(flatten)]
        how: Exit,
        /// From start to end, in microseconds.
        duration_us: u64,
    },
    /// A program of the user's is about to be tried.
    ProgramStarted {
        /// Its place in the job.
        index: usize,
        /// Its name.
        program: String,
    },
    /// A program of the user's has been tried.
    ProgramFinished {
        /// Its place in the job.
        index: usize,
        /// How it went.
        #[serde(flatten)]
        result: Box<ProgramResult>,
    },
    /// Every scenario of the job is over.
    Done {
        /// How many ran.
        scenarios: usize,
    },
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// By itself, with this exit status.
    Code(u8),
    /// By this signal.
    Signal(u8),
}

/// How one scenario went, as the guest saw it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScenarioResult {
    /// What happened.
    pub outcome: Outcome,
    /// From start to end, in microseconds.
    pub duration_us: u64,
    /// Why it did not pass; absent when it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The refusal that the library gave, when the outcome is `unsupported`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
    /// Whether the kernel is older than the claimed minimum and yet has the feature, and its own types do not say
    /// otherwise: somebody carried it back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub backported: bool,
    /// Figures that the scenario took, each with its unit in its name (`fexit_ns`, `programs`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub measurements: BTreeMap<String, Value>,
    /// The first warning or oops that the kernel printed meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub splat: Option<String>,
}

impl ScenarioResult {
    /// Whether nothing went wrong, as far as the guest can say.
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
    /// The first kernel that has it, as `5.19`.
    pub minimum: String,
}

/// What happened to a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It did what it should.
    Passed,
    /// The library refused cleanly, naming the feature and its minimum kernel.
    Unsupported,
    /// It did not do what it should.
    Failed,
    /// It did not run, for a reason that is given.
    Skipped,
    /// It was still running at its time limit.
    TimedOut,
    /// The kernel panicked while it ran.
    Panicked,
    /// It passed, but the kernel printed a warning or an oops meanwhile.
    Splat,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_event_is_one_flat_line() {
        let event = Event::Finished {
            scenario: "attach".into(),
            result: ScenarioResult {
                outcome: Outcome::TimedOut,
                duration_us: 7,
                error: Some("two\nlines".into()),
                refusal: None,
                backported: false,
                measurements: BTreeMap::new(),
                splat: None,
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
    fn a_line_that_is_cut_or_unknown_is_an_error() {
        assert!(serde_json::from_str::<Event>(r#"{"event":"started","scen"#).is_err());
        assert!(serde_json::from_str::<Event>(r#"{"event":"launched"}"#).is_err());
    }
}
