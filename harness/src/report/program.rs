//! The user's objects and programs in the report, and the verdict on a program.

use std::path::Path;

use fexit::Ebpf;
use fexit::programs::Program;
use protocol::program::{ProgramOutcome, ProgramResult, ReasonKind};
use serde::{Deserialize, Serialize};

use super::verdict::ScenarioVerdict;
use crate::initramfs::bpf_objects::{COMMAND, Object, Planned, Programs};

/// An object, and its programs that the harness does not try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectReport {
    /// Its path, as the user gave it.
    pub path: String,
    /// Its programs whose type the library does not load.
    pub not_ours: Vec<OtherProgram>,
}

/// A program of another type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherProgram {
    /// Its name.
    pub name: String,
    /// Its section.
    pub section: String,
    /// Its type: what its section begins with, as `xdp`.
    pub kind: String,
}

/// The programs of an object for which `is_other` holds.
pub fn other_programs(object: &Ebpf, is_other: impl Fn(&Program) -> bool) -> Vec<OtherProgram> {
    let others = object.programs().filter(|(_, program)| is_other(program));
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
        not_ours: other_programs(&object.parsed, |program| !program.is_loadable()),
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
    /// Its type: what its section begins with, as `kprobe`.
    #[serde(default)]
    pub kind: String,
    /// Whether it may fail to load: its section begins with `?`, or `--optional` matches it.
    #[serde(default)]
    pub optional: bool,
    /// The programs of its `--any-of` group, this one among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub any_of: Vec<String>,
    /// The target; empty if neither its section nor `--target` names one.
    pub target: String,
    /// Whether it works.
    pub verdict: ScenarioVerdict,
    /// Whether it is ok after it had failed.
    #[serde(default)]
    pub flaky: bool,
    /// What happened.
    #[serde(flatten)]
    pub result: ProgramResult,
}

impl ProgramReport {
    pub(super) fn new(planned: &Planned, result: ProgramResult) -> Self {
        Self {
            object: planned.object.clone(),
            program: planned.task.name().to_owned(),
            section: planned.section.clone(),
            kind: planned.kind.clone(),
            optional: planned.optional,
            any_of: planned.any_of.clone(),
            target: planned.target.clone().unwrap_or_default(),
            verdict: judge(&result, planned.optional),
            flaky: false,
            result,
        }
    }

    /// Identifies it in other reports: `OBJECT:PROGRAM`.
    pub fn id(&self) -> String {
        format!("{}:{}", self.object, self.program)
    }

    /// Its name for people: `PROGRAM of FILE`, or `--command CMD`.
    pub fn name(&self) -> String {
        if self.object == COMMAND {
            return format!("{COMMAND} {}", self.program);
        }
        let file = Path::new(&self.object).file_name().unwrap_or_default();
        format!("{} of {}", self.program, file.display())
    }

    /// Whether it was skipped because of its object or the options: then its verdict does not count for the kernel.
    pub(super) fn is_left_out(&self) -> bool {
        let kind = self.result.reason.as_ref().map(|reason| reason.kind);
        self.result.outcome == ProgramOutcome::Skipped
            && matches!(kind, Some(ReasonKind::NoTarget | ReasonKind::NotCovered))
    }

    /// Why it does not work.
    pub fn why(&self) -> Option<&str> {
        self.result
            .reason
            .as_ref()
            .map(|reason| reason.text.as_str())
    }
}

/// A refused program is ok if another one of its `--any-of` group in the same object works.
pub(super) fn accept_alternatives(programs: &mut [ProgramReport]) {
    let works: Vec<(String, String)> = programs
        .iter()
        .filter(|program| {
            use ProgramOutcome::{Verified, Works};
            matches!(program.result.outcome, Works | Verified)
        })
        .map(|program| (program.object.clone(), program.program.clone()))
        .collect();
    for program in programs {
        let is_alternative = |(object, name): &(String, String)| {
            *object == program.object && program.any_of.contains(name)
        };
        if program.result.outcome == ProgramOutcome::Refused && works.iter().any(is_alternative) {
            program.verdict = ScenarioVerdict::Ok;
        }
    }
}

/// A program is ok if it works or was verified, or if it is optional and cannot be loaded.
fn judge(result: &ProgramResult, optional: bool) -> ScenarioVerdict {
    let is_loaded = result.stages.load.is_some_and(|stage| stage.ok);
    match result.outcome {
        ProgramOutcome::Works | ProgramOutcome::Verified => ScenarioVerdict::Ok,
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
            (O::Verified, ScenarioVerdict::Ok),
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
    fn refused_program_is_ok_if_another_of_its_group_in_the_same_object_works() {
        let report = |object: &str, program: &str, outcome, any_of: &[&str]| {
            let result = ProgramResult::bare(outcome, ReasonKind::Other, "why");
            ProgramReport {
                object: object.into(),
                program: program.into(),
                section: String::new(),
                kind: "fexit".into(),
                optional: false,
                any_of: any_of.iter().map(ToString::to_string).collect(),
                target: String::new(),
                verdict: judge(&result, false),
                flaky: false,
                result,
            }
        };
        use ProgramOutcome::{Panicked, Refused, Works};
        let group = &["a", "b", "c"];
        let mut reports = [
            report("1.o", "a", Refused, group),
            report("1.o", "b", Works, group),
            report("1.o", "c", Panicked, group),
            report("1.o", "d", Refused, &[]),
            report("2.o", "a", Refused, group),
        ];
        accept_alternatives(&mut reports);
        let verdicts = reports.map(|report| report.verdict);
        use ScenarioVerdict::{NotOk, Ok};
        assert_eq!(verdicts, [Ok, Ok, NotOk, NotOk, NotOk]);
    }

    #[test]
    fn program_report_is_flat_json_and_round_trips() {
        let report = ProgramReport {
            object: "a.bpf.o".into(),
            program: "on_read".into(),
            section: "fexit/vfs_read".into(),
            kind: "fexit".into(),
            optional: false,
            any_of: Vec::new(),
            target: "vfs_read".into(),
            verdict: ScenarioVerdict::NotOk,
            flaky: false,
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
