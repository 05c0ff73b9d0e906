//! What goes on while a program is attached: the other programs of its object, and the user's command.

use std::process::Command;

use fexit::Btf;
use fexit::programs::FExit;
use protocol::program::{ProgramTask, ShellCommand, TriggerResult};

use super::target::Objects;
use crate::child::Company;
use crate::supervise;

/// More programs than these are not attached beside the one that is tried: each takes a fraction of a second.
const OTHERS: usize = 16;

/// The command, and the other programs of the object.
pub(super) struct Meanwhile<'a> {
    pub(super) trigger: &'a ShellCommand,
    pub(super) others: Vec<&'a ProgramTask>,
}

impl Meanwhile<'_> {
    /// Loads the other programs, before any is attached that would see us read. Of each that cannot be, its own turn
    /// says why.
    pub(super) fn load(&self, objects: &mut Objects, btf: &Btf, notes: &mut Vec<String>) {
        if self.others.len() > OTHERS {
            notes.push(format!(
                "of the {} other programs of the object the first {OTHERS} were attached too",
                self.others.len()
            ));
        }
        for other in self.others() {
            let _ = objects.load(other, btf);
        }
    }

    /// Attaches those that are loaded: programs of an object work together. Returns their names.
    pub(super) fn attach(&self, objects: &mut Objects) -> Vec<String> {
        let attached = self.others().filter(|other| {
            let program = objects.fexit(&other.file, &other.program);
            program.and_then(FExit::attach).is_ok()
        });
        attached.map(|other| other.program.clone()).collect()
    }

    /// Detaches the others again, so that what they leave behind does not change any more.
    pub(super) fn detach(
        &self,
        objects: &mut Objects,
        attached: &[String],
        notes: &mut Vec<String>,
    ) {
        for other in self.others().filter(|o| attached.contains(&o.program)) {
            let program = objects.fexit(&other.file, &other.program);
            if let Err(error) = program.and_then(FExit::unload) {
                let name = &other.program;
                notes.push(format!("the other program {name} stays: {error}"));
            }
        }
    }

    fn others(&self) -> impl Iterator<Item = &ProgramTask> {
        self.others.iter().copied().take(OTHERS)
    }

    /// Runs the command, within its time limit.
    pub(super) fn pull(&self) -> TriggerResult {
        let command = shell(self.trigger);
        ended(self.trigger, command)
    }
}

/// The command as a process.
pub(super) fn shell(wanted: &ShellCommand) -> Command {
    let ShellCommand { shell, script, .. } = wanted;
    let mut command = Command::new(shell);
    // Where the supervisor wants a report the command has no input.
    command
        .args(["-c", "exec \"$0\" -c \"$1\" < /dev/null", shell, script])
        .current_dir("/")
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        );
    command
}

/// Runs `command`, which is or becomes `wanted`, within its time limit.
pub(super) fn ended(wanted: &ShellCommand, mut command: Command) -> TriggerResult {
    match supervise::run(&mut command, wanted.limit(), Company::Alone) {
        Ok(ended) => TriggerResult {
            ok: ended.status.is_some_and(|status| status.success()),
            ended: match ended.status {
                Some(status) => status.to_string(),
                None => format!(
                    "it was still running after {} s and was killed",
                    wanted.limit_s
                ),
            },
            output: ended.output.lines(usize::MAX),
        },
        Err(error) => TriggerResult {
            ok: false,
            ended: format!("it did not run: {}: {error:#}", wanted.shell),
            output: String::new(),
        },
    }
}
