//! What goes on while a program is attached: the other programs of its object, and the user's command.

use std::process::Command;
use std::time::Duration;

use fexit::programs::FExit;
use fexit::{Btf, Ebpf};
use protocol::program::{ProgramTask, Trigger, TriggerResult};

use super::attempt::{fexit, load_for};
use crate::child::Company;
use crate::supervise;

/// More programs than these are not attached beside the one that is tried: each takes a fraction of a second.
const OTHERS: usize = 16;

/// The command, and the other programs of the object.
pub(super) struct Meanwhile<'a> {
    pub(super) trigger: &'a Trigger,
    pub(super) others: Vec<&'a ProgramTask>,
}

impl Meanwhile<'_> {
    /// Loads the other programs, before any is attached that would see us read. Of each that cannot be, its own turn
    /// says why.
    pub(super) fn load(&self, object: &mut Ebpf, btf: &Btf, notes: &mut Vec<String>) {
        if self.others.len() > OTHERS {
            notes.push(format!(
                "of the {} other programs of the object the first {OTHERS} were attached too",
                self.others.len()
            ));
        }
        for other in self.others() {
            let _ = load_for(object, &other.program, other.target.as_deref(), btf);
        }
    }

    /// Attaches those that are loaded: programs of an object work together. Returns their names.
    pub(super) fn attach(&self, object: &mut Ebpf) -> Vec<String> {
        self.others()
            .map(|other| other.program.clone())
            .filter(|name| fexit(object, name).and_then(FExit::attach).is_ok())
            .collect()
    }

    fn others(&self) -> impl Iterator<Item = &ProgramTask> {
        self.others.iter().copied().take(OTHERS)
    }

    /// Runs the command, within its time limit.
    pub(super) fn pull(&self) -> TriggerResult {
        let Trigger {
            shell,
            script,
            limit_s,
        } = self.trigger;
        let mut command = Command::new(shell);
        // Where the supervisor wants a report the command has no input.
        command
            .args(["-c", "exec \"$0\" -c \"$1\" < /dev/null", shell, script])
            .current_dir("/")
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            );
        match supervise::run(&mut command, Duration::from_secs(*limit_s), Company::Alone) {
            Ok(ended) => TriggerResult {
                ok: ended.status.is_some_and(|status| status.success()),
                ended: match ended.status {
                    Some(status) => status.to_string(),
                    None => format!("it was still running after {limit_s} s and was killed"),
                },
                output: ended.output.lines(usize::MAX),
            },
            Err(error) => TriggerResult {
                ok: false,
                ended: format!("it did not run: {shell}: {error:#}"),
                output: String::new(),
            },
        }
    }
}

/// Detaches the others again, so that what they leave behind does not change any more.
pub(super) fn detach(object: &mut Ebpf, attached: &[String], notes: &mut Vec<String>) {
    for name in attached {
        if let Err(error) = fexit(object, name).and_then(FExit::unload) {
            notes.push(format!("the other program {name} stays: {error}"));
        }
    }
}
