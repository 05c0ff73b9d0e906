//! The user's objects and programs in the report, and the verdict on a program.

use std::path::Path;

use fexit::Ebpf;
use fexit::programs::Program;
use protocol::program::{ProgramOutcome, ProgramResult, ReasonKind};
use serde::{Deserialize, Serialize};

use super::ScenarioVerdict;
use crate::initramfs::bpf_objects::{Object, Planned, Programs};

/// An object, and its programs that the harness does not try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectReport {
    /// Its path, as the user gave it.
    pub path: String,
    /// Its programs of other types than fexit, which were skipped.
    pub not_ours: Vec<OtherProgram>,
}

/// A program of another type than fexit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherProgram {
    /// Its name.
    pub name: String,
    /// Its section.
    pub section: String,
    /// Its type, as `xdp`.
    pub kind: String,
}

/// The programs of an object that are not fexit.
pub fn other_programs(object: &Ebpf) -> Vec<OtherProgram> {
    let others = object
        .programs()
        .filter(|(_, program)| !matches!(program, Program::FExit(_)));
    others
        .map(|(name, program)| OtherProgram {
            name: name.to_owned(),
            section: program.section().to_owned(),
            kind: program.kind().to_owned(),
        })
        .collect()
}

/// The objects, as the report lists them.
pub fn objects(programs: &Programs) -> Vec<ObjectReport> {
    let report = |object: &Object| ObjectReport {
        path: object.path.display().to_string(),
        not_ours: other_programs(&object.parsed),
    };
    programs.objects().iter().map(report).collect()
}

/// One program on one kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProgramReport {
    /// The path of its object, as the user gave it.
    pub object: String,
    /// Its name.
    pub program: String,
    /// Its section.
    pub section: String,
    /// Whether its section is marked with `?`: then it may fail to load.
    #[serde(default)]
    pub optional: bool,
    /// The target; empty if neither its section nor `--target` names one.
    pub target: String,
    /// Whether it works.
    pub verdict: ScenarioVerdict,
    /// What happened.
    #[serde(flatten)]
    pub result: ProgramResult,
}

impl ProgramReport {
    pub(super) fn new(planned: &Planned, result: ProgramResult) -> Self {
        Self {
            object: planned.object.clone(),
            program: planned.task.program.clone(),
            section: planned.section.clone(),
            optional: planned.optional,
            target: planned.target.clone().unwrap_or_default(),
            verdict: judge(&result, planned.optional),
            result,
        }
    }

    /// Identifies it in other reports: `OBJECT:PROGRAM`.
    pub fn id(&self) -> String {
        format!("{}:{}", self.object, self.program)
    }

    /// Its name for people: `PROGRAM of FILE`.
    pub fn name(&self) -> String {
        let file = Path::new(&self.object).file_name().unwrap_or_default();
        format!("{} of {}", self.program, file.display())
    }

    /// Whether it was skipped because it has no target: then its verdict does not count for the kernel.
    pub(super) fn has_no_target(&self) -> bool {
        let reason = self.result.reason.as_ref();
        self.result.outcome == ProgramOutcome::Skipped
            && reason.is_some_and(|reason| reason.kind == ReasonKind::NoTarget)
    }

    /// Why it does not work.
    pub fn why(&self) -> Option<&str> {
        self.result
            .reason
            .as_ref()
            .map(|reason| reason.text.as_str())
    }
}

/// A program is ok if it works, or if it is optional and cannot be loaded.
fn judge(result: &ProgramResult, optional: bool) -> ScenarioVerdict {
    let is_loaded = result.stages.load.is_some_and(|stage| stage.ok);
    match result.outcome {
        ProgramOutcome::Works => ScenarioVerdict::Ok,
        ProgramOutcome::Refused if optional && !is_loaded => ScenarioVerdict::Ok,
        ProgramOutcome::Skipped => ScenarioVerdict::Unknown,
        _ => ScenarioVerdict::NotOk,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::program::Stage;

    #[test]
    fn only_working_programs_are_ok() {
        use ProgramOutcome as O;
        for (outcome, verdict) in [
            (O::Works, ScenarioVerdict::Ok),
            (O::Refused, ScenarioVerdict::NotOk),
            (O::Failed, ScenarioVerdict::NotOk),
            (O::TimedOut, ScenarioVerdict::NotOk),
            (O::Panicked, ScenarioVerdict::NotOk),
            (O::Splat, ScenarioVerdict::NotOk),
            (O::Skipped, ScenarioVerdict::Unknown),
        ] {
            let mut result = ProgramResult::bare(outcome, ReasonKind::Other, "");
            assert_eq!(judge(&result, false), verdict, "{outcome:?}");
            // An optional program may fail to load.
            let refused = outcome == O::Refused;
            let verdict = if refused {
                ScenarioVerdict::Ok
            } else {
                verdict
            };
            assert_eq!(judge(&result, true), verdict, "{outcome:?}");
            result.stages.load = Some(Stage { ok: true, us: 1 });
            if refused {
                assert_eq!(judge(&result, true), ScenarioVerdict::NotOk);
            }
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.name());
        }
    }

    #[test]
    fn program_report_is_flat_json_and_round_trips() {
        let report = ProgramReport {
            object: "a.bpf.o".into(),
            program: "on_read".into(),
            section: "fexit/vfs_read".into(),
            optional: false,
            target: "vfs_read".into(),
            verdict: ScenarioVerdict::NotOk,
            result: ProgramResult::bare(ProgramOutcome::Skipped, ReasonKind::Other, "why"),
        };
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(
            (&json["outcome"], &json["verdict"]),
            (&"skipped".into(), &"not-ok".into())
        );
        assert_eq!(
            serde_json::from_value::<ProgramReport>(json).unwrap(),
            report
        );
    }
}
