//! `/init` of the VM, and each scenario's process: one binary, told apart by its arguments.

mod beside;
mod child;
mod command;
mod confine;
mod environment;
mod init;
mod kmsg;
mod leaks;
mod mounts;
mod network;
mod outcome;
mod port;
mod programs;
mod quirks;
mod ranks;
mod session;
mod supervise;
mod text;
mod turns;

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    match arguments.as_slice() {
        [command, id, more @ ..] if command == child::COMMAND => {
            child::run(&id.to_string_lossy(), more)
        }
        [command, rest @ ..] if command == session::COMMAND => session::run(rest),
        [command, index] if command == programs::COMMAND => programs::run(&index.to_string_lossy()),
        more if rustix::process::getpid().is_init() => {
            init::run(more.iter().any(|word| word == environment::PREPARED))
        }
        _ => {
            eprintln!(
                "usage: init {} ID (as process 1, it takes its job from a file)",
                child::COMMAND
            );
            ExitCode::from(2)
        }
    }
}
