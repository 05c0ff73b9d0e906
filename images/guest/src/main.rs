//! `/init` of the VM, and the process of each scenario: one binary with subcommands.

mod capabilities;
mod child_exit;
mod concurrency;
mod copies;
mod environment;
mod exec;
mod host_folders;
mod init;
mod kmsg;
mod leak_check;
mod log_watch;
mod modules;
mod mounts;
mod network;
mod out;
mod outcome;
mod output;
mod parallel;
mod perf_mlock;
mod pins;
mod port;
mod priority;
mod programs;
mod scenario_process;
mod schedule;
mod session;
mod supervise;
mod text;

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

/// The argument that makes this binary list its scenarios; the build of the harness uses it.
const CATALOG: &str = "scenarios";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    match arguments.as_slice() {
        [command, id, more @ ..] if command == scenario_process::COMMAND => {
            scenario_process::run(&id.to_string_lossy(), more)
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
                scenario_process::COMMAND
            );
            ExitCode::from(2)
        }
    }
}

/// Writes all scenarios, including hidden ones, as a JSON array of [`protocol::scenario::Scenario`].
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
