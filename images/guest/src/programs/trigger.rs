//! What runs while a program is attached: the other programs of its object, and the `--trigger` command.

use fexit::Btf;
use fexit::programs::FExit;
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
    /// Loads the other programs before any is attached, so that none sees the loading. Errors are ignored: the result of
    /// each program reports its own.
    pub(super) fn load(&self, objects: &mut Objects, btf: &Btf, notes: &mut Vec<String>) {
        if self.siblings.len() > SIBLINGS_LIMIT {
            notes.push(format!(
                "only the first {SIBLINGS_LIMIT} of the object's {} other programs were attached",
                self.siblings.len()
            ));
        }
        for sibling in self.siblings() {
            let _ = objects.load(sibling, btf);
        }
    }

    /// Attaches the loaded ones: the programs of an object work together. Returns their names.
    pub(super) fn attach(&self, objects: &mut Objects) -> Vec<String> {
        let attached = self.siblings().filter(|sibling| {
            let program = objects.fexit(&sibling.file, &sibling.program);
            program.and_then(FExit::attach).is_ok()
        });
        attached.map(|sibling| sibling.program.clone()).collect()
    }

    /// Unloads the other programs, so that the maps do not change any more.
    pub(super) fn detach(
        &self,
        objects: &mut Objects,
        attached: &[String],
        notes: &mut Vec<String>,
    ) {
        for sibling in self.siblings().filter(|s| attached.contains(&s.program)) {
            let program = objects.fexit(&sibling.file, &sibling.program);
            if let Err(error) = program.and_then(FExit::unload) {
                let name = &sibling.program;
                notes.push(format!("cannot unload the other program {name}: {error}"));
            }
        }
    }

    fn siblings(&self) -> impl Iterator<Item = &ProgramTask> {
        self.siblings.iter().copied().take(SIBLINGS_LIMIT)
    }

    /// Runs the command within its time limit.
    pub(super) fn run(&self) -> TriggerResult {
        shell::run(self.command, shell::command(self.command))
    }
}
