//! From the command line to the programs that are to be tried on each kernel.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use fexit::programs::Program;
use protocol::program::{OBJECTS_DIR, ProgramTask, TIME_LIMIT, Trigger};

use super::{Object, read};
use crate::initramfs::cpio;
use crate::initramfs::host_files::Luggage;
use crate::support::error::usage;
use crate::support::seconds::seconds;

/// More programs than these would keep a VM busy for minutes.
const MAX_PROGRAMS: usize = 256;

/// Objects of the user's own.
#[derive(Clone, Debug, Args)]
pub struct ObjectArgs {
    /// Try the fexit programs of an object on each kernel: load, attach, detach. Without --scenario nothing else runs
    #[arg(long = "object", value_name = "FILE")]
    pub objects: Vec<PathBuf>,

    /// Another target than the section names: PROG=FUNCTION, PROG=module:FUNCTION, or PROG=prog:OTHER[/SUBPROGRAM] for
    /// another program of the object
    #[arg(long = "target", value_name = "PROG=TARGET", requires = "objects")]
    pub targets: Vec<String>,

    /// A shell command that runs in the VM while each program is attached, with the others of its object beside it
    #[arg(long, value_name = "CMD", requires = "objects")]
    pub trigger: Option<String>,

    /// The limit for that command, each time; then it is killed
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    #[arg(requires = "trigger")]
    pub trigger_timeout: Duration,
}

/// One program that is to be tried.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Its object, as it was given.
    pub object: String,
    /// The section that it stands in.
    pub section: String,
    /// Whether the object does without it where it cannot be loaded.
    pub optional: bool,
    /// What it is loaded for, in words.
    pub target: String,
    /// What the guest is told.
    pub task: ProgramTask,
}

/// All that is to be tried. Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub struct Programs(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    objects: Vec<Object>,
    planned: Vec<Planned>,
    trigger: Option<Trigger>,
}

impl Programs {
    /// Reads the objects, and finds what does not fit together before anything takes time.
    pub fn plan(args: &ObjectArgs) -> Result<Self> {
        let targets = args.targets.iter().map(|text| target(text));
        let targets = targets.collect::<Result<Vec<_>>>()?;
        let mut objects = Vec::new();
        let mut planned = Vec::new();
        for (number, path) in args.objects.iter().enumerate() {
            let object = read(path)?;
            planned.extend(programs(&object, &format!("{number}.bpf.o"), &targets)?);
            objects.push(object);
        }
        if planned.len() > MAX_PROGRAMS {
            return Err(usage(format!(
                "{} fexit programs are too many for one run, which takes {MAX_PROGRAMS} at most; split the object",
                planned.len()
            )));
        }
        for (program, _) in &targets {
            if !planned
                .iter()
                .any(|planned| planned.task.program == *program)
            {
                let names: Vec<_> = planned.iter().map(|p| p.task.program.as_str()).collect();
                return Err(usage(format!(
                    "--target names `{program}`, which is no fexit program of the objects; they have {}",
                    names.join(", ")
                )));
            }
        }
        let trigger = |script: &String| -> Result<_> {
            Ok(Trigger {
                shell: pack(script)?.1,
                script: script.clone(),
                limit_s: args.trigger_timeout.as_secs(),
            })
        };
        let trigger = args.trigger.as_ref().map(trigger).transpose()?;
        Ok(Self(Arc::new(Inner {
            objects,
            planned,
            trigger,
        })))
    }

    /// Programs of which nothing matters but their names.
    #[cfg(test)]
    pub(crate) fn named(names: &[&str]) -> Self {
        let planned = names.iter().map(|name| Planned {
            object: "test.bpf.o".to_owned(),
            section: "fexit/vfs_read".to_owned(),
            optional: false,
            target: "vfs_read".to_owned(),
            task: ProgramTask {
                file: "0.bpf.o".to_owned(),
                program: (*name).to_owned(),
                target: None,
            },
        });
        Self(Arc::new(Inner {
            planned: planned.collect(),
            ..Inner::default()
        }))
    }

    /// The programs, in the order in which they are tried.
    pub fn planned(&self) -> &[Planned] {
        &self.0.planned
    }

    /// The object files.
    pub fn objects(&self) -> &[Object] {
        &self.0.objects
    }

    /// What the guest runs meanwhile.
    pub fn trigger(&self) -> Option<&Trigger> {
        self.0.trigger.as_ref()
    }

    /// How long one program may take; `None` if there is none.
    pub fn time_limit(&self) -> Option<Duration> {
        let command = self.trigger().map(Trigger::limit).unwrap_or_default();
        (!self.planned().is_empty()).then_some(TIME_LIMIT + command)
    }

    /// The shell that this takes, and the commands that it names, with their libraries.
    pub fn luggage(&self) -> Result<Option<Luggage>> {
        self.trigger()
            .map(|trigger| Ok(pack(&trigger.script)?.0))
            .transpose()
    }

    /// The objects, as files of the image.
    pub fn files(&self) -> Vec<cpio::File> {
        let files = self.0.objects.iter().enumerate();
        let file = |(number, object): (usize, &Object)| {
            (
                format!("{OBJECTS_DIR}/{number}.bpf.o"),
                object.bytes.clone(),
            )
        };
        files.map(file).collect()
    }

    /// The modules that their targets are in.
    pub fn modules(&self) -> Vec<&str> {
        let mut modules: Vec<&str> = self
            .0
            .planned
            .iter()
            .filter_map(|planned| planned.target.split_once(':'))
            .map(|(module, _)| module)
            .filter(|module| *module != "prog")
            .collect();
        modules.sort_unstable();
        modules.dedup();
        modules
    }
}

/// A shell with what it needs for `script`, and its path.
fn pack(script: &str) -> Result<(Luggage, String)> {
    let mut luggage = Luggage::new();
    let shell = luggage
        .command(&["sh".into(), "-c".into(), script.into()])
        .map_err(|error| usage(format!("--trigger: {error}")))?;
    Ok((luggage, shell.display().to_string()))
}

fn target(text: &str) -> Result<(String, String)> {
    let whole = |(program, target): &(&str, &str)| !program.is_empty() && !target.is_empty();
    let parts = text.split_once('=').filter(whole).ok_or_else(|| {
        usage(format!(
            "--target `{text}` is not PROG=FUNCTION, PROG=module:FUNCTION or PROG=prog:OTHER"
        ))
    })?;
    Ok((parts.0.to_owned(), parts.1.to_owned()))
}

fn programs(object: &Object, file: &str, targets: &[(String, String)]) -> Result<Vec<Planned>> {
    let path = object.path.display();
    let mut planned = Vec::new();
    for (name, program) in object.parsed.programs() {
        if !matches!(program, Program::FExit(_)) {
            continue;
        }
        let given = targets.iter().rev().find(|(program, _)| program == name);
        let given = given.map(|(_, target)| target.clone());
        if let Some(other) = given
            .as_deref()
            .and_then(|target| target.strip_prefix("prog:"))
        {
            let other = other.split('/').next().unwrap_or_default();
            if object.parsed.program(other).is_none() || other == name {
                return Err(usage(format!(
                    "--target {name}=prog:{other}: {path} has no other program of that name"
                )));
            }
        }
        let section = program.section().to_owned();
        let own = section_target(&section).map(str::to_owned);
        let Some(target) = given.clone().or(own) else {
            return Err(usage(format!(
                "{path}: the section of program `{name}` names no target: say --target {name}=FUNCTION"
            )));
        };
        planned.push(Planned {
            object: object.path.display().to_string(),
            section,
            optional: program.is_optional(),
            target,
            task: ProgramTask {
                file: file.to_owned(),
                program: name.to_owned(),
                target: given,
            },
        });
    }
    if planned.is_empty() {
        let others = object.parsed.programs();
        let others: Vec<_> = others
            .take(10)
            .map(|(name, program)| format!("{name} ({})", program.kind()))
            .collect();
        let has = if others.is_empty() {
            "no program at all".to_owned()
        } else {
            others.join(", ")
        };
        return Err(usage(format!("{path} has no fexit program; it has {has}")));
    }
    Ok(planned)
}

/// What a section names.
pub(crate) fn section_target(section: &str) -> Option<&str> {
    let (_, target) = section.split_once('/')?;
    (!target.is_empty()).then_some(target)
}
