//! From the command line to the programs to try on each kernel.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use protocol::program::{OBJECTS_DIR, ProgramTask, ShellCommand, TIME_LIMIT, Task};

use super::commands::Commands;
use super::select::Selection;
use super::target::Targets;
use super::{Object, ObjectArgs, file_name, read};
use crate::initramfs::cpio;
use crate::initramfs::host_files::HostFiles;
use crate::kernels::Arch;
use crate::kernels::files::modules::Module;
use crate::support::error::usage;

/// The limit for programs, so that a VM runs for minutes at most.
const MAX_PROGRAMS: usize = 256;

/// A program to try.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The path of its object.
    pub object: String,
    /// Its section.
    pub section: String,
    /// Its type: what its section begins with, as `kprobe`.
    pub kind: String,
    /// Whether the object works without it.
    pub optional: bool,
    /// The programs of which one is enough, this one among them; empty if it is in no such group.
    pub any_of: Vec<String>,
    /// Its target; `None` if it has none.
    pub target: Option<String>,
    /// Whether it is attached after it is loaded. Then it cannot be tried without a target.
    pub attachable: bool,
    /// The task of the guest.
    pub task: Task,
}

/// The value of `object` in the report for the command of `--command`.
pub const COMMAND: &str = "--command";

impl Planned {
    /// The task for `--command`, with the paths of the objects in `BPF_OBJECTS`.
    fn command(mut command: ShellCommand, objects: &[Object]) -> Self {
        let paths: Vec<_> = (0..objects.len()).map(path_in_vm).collect();
        let variable = ("BPF_OBJECTS".to_owned(), paths.join(":"));
        command.environment.push(variable);
        Self {
            object: COMMAND.to_owned(),
            section: String::new(),
            kind: "command".to_owned(),
            optional: false,
            any_of: Vec::new(),
            target: None,
            attachable: false,
            task: Task::Command(command),
        }
    }

    /// Identifies it in reports.
    pub fn id(&self) -> String {
        format!("{}:{}", self.object, self.task.name())
    }

    /// Whether it can be tried.
    pub fn is_tried(&self) -> bool {
        self.target.is_some() || !self.attachable
    }
}

/// All programs to try. Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub struct Programs(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    objects: Vec<Object>,
    planned: Vec<Planned>,
    commands: Commands,
    own_modules: Vec<Module>,
}

impl Programs {
    /// Reads the objects, and checks that options and objects match, for kernels of these architectures.
    pub fn plan(args: &ObjectArgs, arches: &BTreeSet<Arch>) -> Result<Self> {
        let targets = Targets::parse(&args.targets)?;
        let objects = args.objects.iter().map(|path| read(path));
        let objects = objects.collect::<Result<Vec<_>>>()?;
        targets.check(&objects)?;
        let selection = Selection::parse(&objects, &args.programs, &args.optional, &args.any_of)?;
        let mut planned = match args.command.is_some() && args.programs.is_empty() {
            true => Vec::new(),
            false => programs(&objects, &targets, &selection)?,
        };
        has_programs(&objects)?;
        check(&planned)?;
        let (commands, own_command) = Commands::parse(args, arches)?;
        planned.extend(own_command.map(|command| Planned::command(command, &objects)));
        let own_modules = args
            .own_modules
            .iter()
            .map(|path| Module::read(path).map_err(|error| usage(format!("--module: {error:#}"))));
        let own_modules = own_modules.collect::<Result<_>>()?;
        Ok(Self(Arc::new(Inner {
            objects,
            planned,
            commands,
            own_modules,
        })))
    }

    /// Programs with these names, for tests.
    #[cfg(test)]
    pub(crate) fn named(names: &[&str]) -> Self {
        let planned = names.iter().map(|name| Planned {
            object: "test.bpf.o".to_owned(),
            section: "fexit/vfs_read".to_owned(),
            kind: "fexit".to_owned(),
            optional: false,
            any_of: Vec::new(),
            target: Some("vfs_read".to_owned()),
            attachable: true,
            task: Task::Program(ProgramTask {
                file: "0.bpf.o".to_owned(),
                program: (*name).to_owned(),
                target: None,
            }),
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
        self.0.commands.prepare.as_ref()
    }

    /// The command of --trigger.
    pub fn trigger(&self) -> Option<&ShellCommand> {
        self.0.commands.trigger.as_ref()
    }

    /// How long one program may take; `None` if there is none.
    pub fn time_limit(&self) -> Option<Duration> {
        let limit = |planned: &Planned| match &planned.task {
            Task::Program(_) => {
                TIME_LIMIT + self.trigger().map(ShellCommand::limit).unwrap_or_default()
            }
            Task::Command(command) => command.limit(),
        };
        self.planned().iter().map(limit).max()
    }

    /// The host files of --prepare, --trigger and --file, with libraries.
    pub fn host_files(&self) -> Option<&HostFiles> {
        self.0.commands.host_files.as_ref()
    }

    /// The objects, as files of the image.
    pub fn files(&self) -> Vec<cpio::File> {
        let files = self.0.objects.iter().enumerate();
        let file = |(number, object): (usize, &Object)| (path_in_vm(number), object.bytes.clone());
        files.map(file).collect()
    }

    /// The modules of `--module`.
    pub fn own_modules(&self) -> &[Module] {
        &self.0.own_modules
    }

    /// The modules of the kernel that their targets are in.
    pub fn modules(&self) -> Vec<&str> {
        let mut modules: Vec<&str> = self
            .0
            .planned
            .iter()
            .filter_map(|planned| planned.target.as_deref()?.split_once(':'))
            .map(|(module, _)| module)
            .filter(|module| !["prog", "vmlinux"].contains(module))
            .filter(|name| !self.own_modules().iter().any(|own| own.name == *name))
            .collect();
        modules.sort_unstable();
        modules.dedup();
        modules
    }
}

/// The selected programs of all objects.
fn programs(objects: &[Object], targets: &Targets, selection: &Selection) -> Result<Vec<Planned>> {
    let mut planned = Vec::new();
    for (number, object) in objects.iter().enumerate() {
        let selected = object.parsed.programs();
        for (name, program) in selected.filter(|(name, _)| selection.takes(name)) {
            let attachable = program.is_attachable();
            let target = match attachable {
                true => targets.of(objects, (number, name))?,
                false => None,
            };
            let (text, spec) = target.map(|target| (target.text, target.spec)).unzip();
            planned.push(Planned {
                object: object.path.display().to_string(),
                section: program.section().to_owned(),
                kind: program.kind().to_owned(),
                optional: program.is_optional() || selection.is_optional(name),
                any_of: selection.any_of(name),
                target: text,
                attachable,
                task: Task::Program(ProgramTask {
                    file: file_name(number),
                    program: name.to_owned(),
                    target: spec.flatten(),
                }),
            });
        }
    }
    Ok(planned)
}

/// Fails if there are too many programs, or if none can be tried.
fn check(planned: &[Planned]) -> Result<()> {
    if planned.len() > MAX_PROGRAMS {
        return Err(usage(format!(
            "{} programs are too many for one run, which takes {MAX_PROGRAMS} at most; select some with --program",
            planned.len()
        )));
    }
    if let Some(first) = planned.first()
        && !planned.iter().any(Planned::is_tried)
    {
        let (object, name) = (&first.object, first.task.name());
        return Err(usage(format!(
            "{object}: the section of program `{name}` names no target: pass --target {name}=FUNCTION"
        )));
    }
    Ok(())
}

/// Fails for an object without a program.
fn has_programs(objects: &[Object]) -> Result<()> {
    let empty = objects
        .iter()
        .find(|object| object.parsed.programs().next().is_none());
    empty.map_or(Ok(()), |object| {
        Err(usage(format!(
            "{} has no program at all",
            object.path.display()
        )))
    })
}

/// The path in the VM of the object with this number.
fn path_in_vm(number: usize) -> String {
    format!("{OBJECTS_DIR}/{}", file_name(number))
}
