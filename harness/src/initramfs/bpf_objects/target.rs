//! `--target PROG=TARGET`: the target of a program, if its section names none or another one.

use anyhow::Result;
use fexit::Feature;
use fexit::programs::Program;
use protocol::program::TargetSpec;

use super::{Object, file_name, section_target};
use crate::support::error::usage;

const FORMS: &str = "PROG=FUNCTION, PROG=MODULE:FUNCTION, PROG=prog:OTHER, PROG=prog:id:ID or PROG=prog:pinned:PATH, the \
                     last three also with /SUBPROGRAM";

/// The targets on the command line. The last one for a program counts.
#[derive(Debug)]
pub struct Targets(Vec<Given>);

#[derive(Debug)]
struct Given {
    program: String,
    text: String,
    spec: Spec,
}

/// A target on the command line.
#[derive(Debug)]
enum Spec {
    /// A target outside of the objects.
    Ready(TargetSpec),
    /// Another program of the objects.
    Other {
        name: String,
        function: Option<String>,
    },
}

/// The target of a program.
#[derive(Debug)]
pub struct Target {
    /// The text on the command line or in the section.
    pub text: String,
    /// The target for the guest; none if the section names it.
    pub spec: Option<TargetSpec>,
    /// The feature that it needs in addition to fexit, and why.
    pub feature: Option<(Feature, &'static str)>,
}

/// A program in the objects: the number of its object, and its name.
type Place<'a> = (usize, &'a str);

impl Targets {
    /// Parses the options.
    pub fn parse(texts: &[String]) -> Result<Self> {
        texts
            .iter()
            .map(|text| parse(text))
            .collect::<Result<_>>()
            .map(Self)
    }

    /// Fails if the objects do not have the program of a target.
    pub fn check(&self, objects: &[Object]) -> Result<()> {
        let names: Vec<_> = attachable(objects).map(|(_, name)| name).collect();
        let unknown = self
            .0
            .iter()
            .find(|given| !names.contains(&&*given.program));
        unknown.map_or(Ok(()), |given| {
            Err(usage(format!(
                "--target names `{}`, which is not a program of the objects that is attached; these are {}",
                given.program,
                names.join(", ")
            )))
        })
    }

    /// The target of a program; none if neither section nor command line names one.
    pub fn of(&self, objects: &[Object], place: Place<'_>) -> Result<Option<Target>> {
        let mut seen = Vec::new();
        self.resolve(objects, place, &mut seen)
    }

    fn given(&self, program: &str) -> Option<&Given> {
        self.0.iter().rev().find(|given| given.program == program)
    }

    fn resolve<'a>(
        &'a self,
        objects: &[Object],
        place: Place<'a>,
        seen: &mut Vec<Place<'a>>,
    ) -> Result<Option<Target>> {
        let (number, program) = place;
        let Some(given) = self.given(program) else {
            let section = objects
                .get(number)
                .and_then(|object| object.parsed.program(program));
            let text = section.and_then(|program| section_target(program.section()));
            return Ok(text.map(|text| Target {
                text: text.to_owned(),
                spec: None,
                feature: None, // the library has the features of sections
            }));
        };
        let (spec, feature) = match &given.spec {
            Spec::Ready(spec) => (spec.clone(), of_ready(spec)),
            Spec::Other { name, function } => {
                seen.push(place);
                let other = (find(objects, place, name)?, name.as_str());
                if seen.contains(&other) {
                    return Err(usage(format!(
                        "--target {program}={}: the targets form a cycle: `{name}` is for `{program}`",
                        given.text
                    )));
                }
                let tracer = is_attachable(objects, other);
                let target = self.resolve(objects, other, seen)?;
                if tracer && target.is_none() {
                    return Err(usage(format!(
                        "--target {program}={}: `{name}` has no target itself: add --target {name}=FUNCTION",
                        given.text
                    )));
                }
                let spec = TargetSpec::Program {
                    file: file_name(other.0),
                    program: name.clone(),
                    target: target.filter(|_| tracer).and_then(|t| t.spec).map(Box::new),
                    function: function.clone(),
                };
                let feature = match tracer {
                    true => (Feature::TracingTarget, "its target is a tracing program"),
                    false => PROGRAM_TARGET,
                };
                (spec, Some(feature))
            }
        };
        Ok(Some(Target {
            text: given.text.clone(),
            spec: Some(spec),
            feature,
        }))
    }
}

const PROGRAM_TARGET: (Feature, &str) = (Feature::ProgramTarget, "its target is a BPF program");

fn of_ready(spec: &TargetSpec) -> Option<(Feature, &'static str)> {
    match spec {
        TargetSpec::Function(name) if name.contains(':') => Some((
            Feature::ModuleTarget,
            "its target is a function of a module",
        )),
        TargetSpec::Function(_) => None,
        _ => Some(PROGRAM_TARGET),
    }
}

/// The programs that are attached, so that they have a target.
fn attachable(objects: &[Object]) -> impl Iterator<Item = Place<'_>> {
    objects.iter().enumerate().flat_map(|(number, object)| {
        let all = object.parsed.programs();
        all.filter_map(move |(name, program)| program.is_attachable().then_some((number, name)))
    })
}

fn is_attachable(objects: &[Object], (number, name): Place<'_>) -> bool {
    let object = objects.get(number);
    let program = object.and_then(|object| object.parsed.program(name));
    program.is_some_and(Program::is_attachable)
}

/// The number of the object that has the program `name`. The object of the fexit program at `place` comes first.
fn find(objects: &[Object], place: Place<'_>, name: &str) -> Result<usize> {
    let (own, program) = place;
    let has = |number: &usize| {
        let object = objects.get(*number);
        let found = object.and_then(|object| object.parsed.program(name));
        found.is_some() && (*number, name) != place
    };
    if has(&own) {
        return Ok(own);
    }
    let found: Vec<usize> = (0..objects.len()).filter(has).collect();
    match found.as_slice() {
        [number] => Ok(*number),
        [] => Err(usage(format!(
            "--target {program}=prog:{name}: the objects have no other program of this name; they have {}",
            names(objects).join(", ")
        ))),
        found => {
            let paths = found.iter().filter_map(|number| objects.get(*number));
            let paths: Vec<_> = paths
                .map(|object| object.path.display().to_string())
                .collect();
            Err(usage(format!(
                "--target {program}=prog:{name} is ambiguous: {} have a program of that name; pass only one of these \
                 objects",
                paths.join(" and ")
            )))
        }
    }
}

/// A list of programs for an error.
fn names(objects: &[Object]) -> Vec<String> {
    let all = objects.iter().flat_map(|object| object.parsed.programs());
    all.take(20)
        .map(|(name, program)| format!("{name} ({})", program.kind()))
        .collect()
}

fn parse(text: &str) -> Result<Given> {
    let wrong = |why: &str| usage(format!("--target `{text}` {why}"));
    let (program, target) = text
        .split_once('=')
        .filter(|(program, target)| !program.is_empty() && !target.is_empty())
        .ok_or_else(|| wrong(&format!("is not {FORMS}")))?;
    let with_function = |text: &str| {
        let (name, function) = match text.split_once('/') {
            Some((name, function)) => (name, Some(function.to_owned())),
            None => (text, None),
        };
        let whole = !name.is_empty() && function.as_deref() != Some("");
        whole
            .then(|| (name.to_owned(), function))
            .ok_or_else(|| wrong(&format!("is not {FORMS}")))
    };
    let spec = match target.strip_prefix("prog:") {
        None => Spec::Ready(TargetSpec::Function(target.to_owned())),
        Some(program) => match program.split_once(':') {
            Some(("id", id)) => {
                let (id, function) = with_function(id)?;
                let id = id.parse().map_err(|_| {
                    wrong("has no number after `prog:id:`, as `bpftool prog` lists them")
                })?;
                Spec::Ready(TargetSpec::Id { id, function })
            }
            Some(("pinned", path)) if path.starts_with('/') => {
                Spec::Ready(TargetSpec::Pinned(path.to_owned()))
            }
            Some(("pinned", _)) => {
                return Err(wrong(
                    "has no absolute path after `prog:pinned:`, such as /sys/fs/bpf/NAME",
                ));
            }
            _ => {
                let (name, function) = with_function(program)?;
                Spec::Other { name, function }
            }
        },
    };
    Ok(Given {
        program: program.to_owned(),
        text: target.to_owned(),
        spec,
    })
}
