//! What runs while a program is attached: the other programs of its object, and the `--trigger` command.

use fexit::Btf;
use fexit::programs::Program;
use protocol::program::{ProgramTask, ShellCommand, TriggerResult};

use super::shell;
use super::target::Objects;

/// The most other programs that are attached at the same time: each takes a fraction of a second.
const SIBLINGS_LIMIT: usize = 16;

/// The command, and the other programs of the object.
pub(super) struct Trigger<'a> {
    pub(super) command: &'a ShellCommand,
    pub(super) siblings: Vec<&'a ProgramTask>,
}

impl Trigger<'_> {
    /// Loads the other programs before any is attached, so that none sees the loading. Returns those that loaded and can
    /// be attached. Errors are ignored: the result of each program reports its own.
    pub(super) fn load(
        &self,
        objects: &mut Objects,
        btf: &Btf,
        notes: &mut Vec<String>,
    ) -> Vec<&ProgramTask> {
        let attachable = |objects: &mut Objects, sibling: &ProgramTask| {
            let program = objects.program(&sibling.file, &sibling.program);
            program.is_ok_and(|program| program.is_attachable())
        };
        let siblings = self.siblings.iter().copied();
        let mut siblings: Vec<_> = siblings.filter(|task| attachable(objects, task)).collect();
        if siblings.len() > SIBLINGS_LIMIT {
            notes.push(format!(
                "only the first {SIBLINGS_LIMIT} of the object's {} other programs were attached",
                siblings.len()
            ));
            siblings.truncate(SIBLINGS_LIMIT);
        }
        siblings.retain(|sibling| objects.load(sibling, btf).is_ok());
        siblings
    }

    /// Attaches them: the programs of an object work together. Returns those that are attached.
    pub(super) fn attach<'a>(
        objects: &mut Objects,
        mut siblings: Vec<&'a ProgramTask>,
    ) -> Vec<&'a ProgramTask> {
        siblings.retain(|sibling| {
            let program = objects.program(&sibling.file, &sibling.program);
            program.and_then(Program::attach).is_ok()
        });
        siblings
    }

    /// Unloads the other programs, so that the maps do not change any more.
    pub(super) fn detach(
        objects: &mut Objects,
        attached: &[&ProgramTask],
        notes: &mut Vec<String>,
    ) {
        for sibling in attached {
            let program = objects.program(&sibling.file, &sibling.program);
            if let Err(error) = program.and_then(Program::unload) {
                let name = &sibling.program;
                notes.push(format!("cannot unload the other program {name}: {error}"));
            }
        }
    }

    /// Runs the command within its time limit.
    pub(super) fn run(&self) -> TriggerResult {
        shell::run(self.command, shell::command(self.command)).1
    }
}
