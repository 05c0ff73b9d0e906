//! `/init` of the VM, and each scenario's process: one binary, told apart by its arguments.

mod child;
mod init;
mod kmsg;
mod leaks;
mod mounts;
mod outcome;
mod port;
mod supervise;
mod text;

use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.as_slice() {
        [command, id] if command == child::COMMAND => child::run(id),
        _ if rustix::process::getpid().is_init() => init::run(),
        _ => {
            eprintln!(
                "usage: init {} ID (as process 1, it takes its job from a file)",
                child::COMMAND
            );
            ExitCode::from(2)
        }
    }
}
