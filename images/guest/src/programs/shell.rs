//! The user's shell commands: `--prepare`, `--trigger` and `--command`.

use std::process::Command;

use protocol::program::{ProgramOutcome, ShellCommand, TriggerResult};

use crate::concurrency::Concurrency;
use crate::supervise;

/// The process that runs the shell command.
pub(super) fn command(spec: &ShellCommand) -> Command {
    let ShellCommand {
        shell,
        script,
        folder,
        ..
    } = spec;
    let mut command = Command::new(shell);
    // `supervise` passes a pipe as the standard input; the command gets none.
    command
        .args(["-c", "exec \"$0\" -c \"$1\" < /dev/null", shell, script])
        .current_dir(folder)
        .envs(spec.environment.iter().cloned())
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        );
    command
}

/// Runs `command`, the process of `spec`, within its time limit. The outcome is `works` for exit status 0.
pub(super) fn run(spec: &ShellCommand, mut command: Command) -> (ProgramOutcome, TriggerResult) {
    let (outcome, ended, output) =
        match supervise::run(&mut command, spec.limit(), Concurrency::Serial) {
            Ok(ended) => {
                let (outcome, text) = match ended.status {
                    Some(status) if status.success() => (ProgramOutcome::Works, status.to_string()),
                    Some(status) => (ProgramOutcome::Refused, status.to_string()),
                    None => (
                        ProgramOutcome::TimedOut,
                        format!(
                            "it was still running after {} s and was killed",
                            spec.limit_s
                        ),
                    ),
                };
                (outcome, text, ended.output.lines(usize::MAX))
            }
            Err(error) => {
                let text = format!("cannot run {}: {error:#}", spec.shell);
                (ProgramOutcome::Refused, text, String::new())
            }
        };
    let ok = outcome == ProgramOutcome::Works;
    (outcome, TriggerResult { ok, ended, output })
}
