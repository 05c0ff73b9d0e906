//! The user's shell commands: `--prepare` and `--trigger`.

use std::process::Command;

use protocol::program::{ShellCommand, TriggerResult};

use crate::concurrency::Concurrency;
use crate::supervise;

/// The process that runs the shell command.
pub(super) fn command(spec: &ShellCommand) -> Command {
    let ShellCommand { shell, script, .. } = spec;
    let mut command = Command::new(shell);
    // `supervise` passes a pipe as the standard input; the command gets none.
    command
        .args(["-c", "exec \"$0\" -c \"$1\" < /dev/null", shell, script])
        .current_dir("/")
        .envs(spec.environment.iter().cloned())
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        );
    command
}

/// Runs `command`, the process of `spec`, within its time limit.
pub(super) fn run(spec: &ShellCommand, mut command: Command) -> TriggerResult {
    match supervise::run(&mut command, spec.limit(), Concurrency::Serial) {
        Ok(ended) => TriggerResult {
            ok: ended.status.is_some_and(|status| status.success()),
            ended: match ended.status {
                Some(status) => status.to_string(),
                None => format!(
                    "it was still running after {} s and was killed",
                    spec.limit_s
                ),
            },
            output: ended.output.lines(usize::MAX),
        },
        Err(error) => TriggerResult {
            ok: false,
            ended: format!("cannot run {}: {error:#}", spec.shell),
            output: String::new(),
        },
    }
}
