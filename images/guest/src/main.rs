//! `/init` of the VM, and each scenario's process: one binary, told apart by its arguments.

mod beside;
mod child;
mod command;
mod confine;
mod end;
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

/// The argument that makes this binary list its scenarios, for the harness that carries it.
const CATALOG: &str = "scenarios";

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
        [command] if command == CATALOG => print_catalog(),
        _ => {
            eprintln!(
                "usage: init {} ID | init {CATALOG} (as process 1, it takes its job from a file)",
                child::COMMAND
            );
            ExitCode::from(2)
        }
    }
}

/// Writes all scenarios, the hidden ones among them, as a JSON array of [`protocol::scenario::Scenario`].
fn print_catalog() -> ExitCode {
    let all: Vec<_> = guest::scenarios::all()
        .map(guest::scenario::Scenario::describe)
        .collect();
    match serde_json::to_writer(std::io::stdout(), &all) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot list the scenarios: {error}");
            ExitCode::FAILURE
        }
    }
}
