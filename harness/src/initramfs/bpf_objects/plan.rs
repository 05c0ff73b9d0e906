//! From the command line to the programs to try on each kernel.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use fexit::programs::Program;
use protocol::program::{OBJECTS_DIR, ProgramTask, ShellCommand, TIME_LIMIT};

use super::target::{Targets, fexit_programs};
use super::{Object, file_name, read};
use crate::initramfs::cpio;
use crate::initramfs::host_files::HostFiles;
use crate::support::error::usage;
use crate::support::seconds::seconds;

/// The limit for programs, so that a VM runs for minutes at most.
const MAX_PROGRAMS: usize = 256;

/// The user's objects.
#[derive(Clone, Debug, Args)]
pub struct ObjectArgs {
    /// Try the fexit programs of an object on each kernel: load, attach, detach. Without --scenario nothing else runs
    #[arg(long = "object", value_name = "FILE")]
    pub objects: Vec<PathBuf>,

    /// Another target than the section names: PROG=FUNCTION, PROG=MODULE:FUNCTION, or another BPF program: PROG=prog:OTHER
    /// for one of the objects, PROG=prog:pinned:PATH and PROG=prog:id:ID for one that --prepare has loaded; with
    /// /SUBPROGRAM after it for a function of that program
    #[arg(long = "target", value_name = "PROG=TARGET", requires = "objects")]
    pub targets: Vec<String>,

    /// A shell command that runs once in each VM before the programs are tried, for a minute at most, as to load and pin
    /// another program or to create a network interface. Processes that it leaves are killed
    #[arg(long, value_name = "CMD", requires = "objects")]
    pub prepare: Option<String>,

    /// Copy a file or folder into the VM for --prepare and --trigger, to the same path or to PLACE
    #[arg(long = "file", value_name = "PATH[:PLACE]", requires = "objects")]
    pub files: Vec<String>,

    /// A shell command that runs in the VM while each program is attached, with the other programs of its object attached too
    #[arg(long, value_name = "CMD", requires = "objects")]
    pub trigger: Option<String>,

    /// Time limit for each run of that command; then it is killed
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    #[arg(requires = "trigger")]
    pub trigger_timeout: Duration,
}

/// A program to try.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The path of its object.
    pub object: String,
    /// Its section.
    pub section: String,
    /// Whether the object can run without it (a section that begins with `?`).
    pub optional: bool,
    /// Its target as text. A program without a target is not tried.
    pub target: Option<String>,
    /// Its task for the guest.
    pub task: ProgramTask,
}

/// All programs to try. Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub struct Programs(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    objects: Vec<Object>,
    planned: Vec<Planned>,
    prepare: Option<ShellCommand>,
    trigger: Option<ShellCommand>,
    host_files: Option<HostFiles>,
}

impl Programs {
    /// Reads the objects, and checks that options and objects match.
    pub fn plan(args: &ObjectArgs) -> Result<Self> {
        let targets = Targets::parse(&args.targets)?;
        let objects = args.objects.iter().map(|path| read(path));
        let objects = objects.collect::<Result<Vec<_>>>()?;
        targets.check(&objects)?;
        let planned = programs(&objects, &targets)?;
        useful(&objects, &targets)?;
        if planned.len() > MAX_PROGRAMS {
            return Err(usage(format!(
                "{} fexit programs are too many for one run, which takes {MAX_PROGRAMS} at most; split the object",
                planned.len()
            )));
        }
        if let Some(first) = planned.first()
            && planned.iter().all(|planned| planned.target.is_none())
        {
            let (object, name) = (&first.object, &first.task.program);
            return Err(usage(format!(
                "{object}: the section of program `{name}` names no target: pass --target {name}=FUNCTION"
            )));
        }
        let mut host_files = HostFiles::new();
        let mut command = |option: &str, script: &Option<String>, limit: Duration| {
            let command = |script: &String| -> Result<_> {
                let words = ["sh".into(), "-c".into(), script.into()];
                let shell = host_files.command(&words);
                let shell = shell.map_err(|error| usage(format!("{option}: {error}")))?;
                Ok(ShellCommand {
                    shell: shell.display().to_string(),
                    script: script.clone(),
                    limit_s: limit.as_secs(),
                })
            };
            script.as_ref().map(command).transpose()
        };
        let prepare = command("--prepare", &args.prepare, TIME_LIMIT)?;
        let trigger = command("--trigger", &args.trigger, args.trigger_timeout)?;
        for file in &args.files {
            let added = host_files.named_file(file);
            added.map_err(|error| usage(format!("--file {file}: {error}")))?;
        }
        let any = prepare.is_some() || trigger.is_some() || !args.files.is_empty();
        Ok(Self(Arc::new(Inner {
            objects,
            planned,
            prepare,
            trigger,
            host_files: any.then_some(host_files),
        })))
    }

    /// Programs with these names, for tests.
    #[cfg(test)]
    pub(crate) fn named(names: &[&str]) -> Self {
        let planned = names.iter().map(|name| Planned {
            object: "test.bpf.o".to_owned(),
            section: "fexit/vfs_read".to_owned(),
            optional: false,
            target: Some("vfs_read".to_owned()),
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

    /// The command of --prepare.
    pub fn prepare(&self) -> Option<&ShellCommand> {
        self.0.prepare.as_ref()
    }

    /// The command of --trigger.
    pub fn trigger(&self) -> Option<&ShellCommand> {
        self.0.trigger.as_ref()
    }

    /// How long one program may take; `None` if there is none.
    pub fn time_limit(&self) -> Option<Duration> {
        let command = self.trigger().map(ShellCommand::limit).unwrap_or_default();
        (!self.planned().is_empty()).then_some(TIME_LIMIT + command)
    }

    /// The host files of --prepare, --trigger and --file, with libraries.
    pub fn host_files(&self) -> Option<&HostFiles> {
        self.0.host_files.as_ref()
    }

    /// The objects, as files of the image.
    pub fn files(&self) -> Vec<cpio::File> {
        let files = self.0.objects.iter().enumerate();
        let file = |(number, object): (usize, &Object)| {
            (
                format!("{OBJECTS_DIR}/{}", file_name(number)),
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
            .filter_map(|planned| planned.target.as_deref()?.split_once(':'))
            .map(|(module, _)| module)
            .filter(|module| !["prog", "vmlinux"].contains(module))
            .collect();
        modules.sort_unstable();
        modules.dedup();
        modules
    }
}

/// The fexit programs of all objects.
fn programs(objects: &[Object], targets: &Targets) -> Result<Vec<Planned>> {
    let mut planned = Vec::new();
    for (number, name) in fexit_programs(objects) {
        let Some(object) = objects.get(number) else {
            continue;
        };
        let target = targets.of(objects, (number, name))?;
        let program = object.parsed.program(name);
        let section = program.map(Program::section);
        let (text, spec) = target.map(|target| (target.text, target.spec)).unzip();
        planned.push(Planned {
            object: object.path.display().to_string(),
            section: section.unwrap_or_default().to_owned(),
            optional: program.is_some_and(Program::is_optional),
            target: text,
            task: ProgramTask {
                file: file_name(number),
                program: name.to_owned(),
                target: spec.flatten(),
            },
        });
    }
    Ok(planned)
}

/// Fails for an object that has nothing to be tried, unless a program of it is a target.
fn useful(objects: &[Object], targets: &Targets) -> Result<()> {
    for (number, object) in objects.iter().enumerate() {
        let is_tried = fexit_programs(objects).any(|(at, _)| at == number);
        if is_tried || targets.reach(objects, number) {
            continue;
        }
        let others = object.parsed.programs().take(10);
        let others: Vec<_> = others
            .map(|(name, program)| format!("{name} ({})", program.kind()))
            .collect();
        let has = if others.is_empty() {
            "no program at all".to_owned()
        } else {
            others.join(", ")
        };
        return Err(usage(format!(
            "{} has no fexit program, and no --target names a program of it; it has {has}",
            object.path.display()
        )));
    }
    Ok(())
}
