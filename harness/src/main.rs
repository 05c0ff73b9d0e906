//! The command line of the harness.

use std::{panic, process::ExitCode};

use clap::Parser as _;
use harness::{
    cli::{Cli, Command},
    commands::{cache, exec, functions, inspect, kernels, list, minimum, reports, run, veristat},
    support::{error::exit_code, sanitize::plain},
};

fn main() -> ExitCode {
    quieten_parser();
    let cli = Cli::parse();
    let done = match &cli.command {
        None if cli.run.list => list::print(&cli.run),
        None => run::run(&cli.run),
        Some(Command::Cache { command }) => cache::command(command),
        Some(Command::Compare {
            old,
            new,
            verifier_growth,
        }) => reports::compare(old, new, *verifier_growth),
        Some(Command::Functions(args)) => functions::run(args),
        Some(Command::Inspect(args)) => inspect::run(args),
        Some(Command::Exec(args)) => Ok(exec::run(args)),
        Some(Command::Minimum(args)) => minimum::run(args),
        Some(Command::Shell(args)) => Ok(exec::shell(args)),
        Some(Command::Kernels { command }) => kernels::command(command),
        Some(Command::Report {
            reports,
            expect,
            place,
            outputs,
        }) => reports::merge(reports, expect, place, outputs),
        Some(Command::Veristat(args)) => veristat::run(args),
    };
    match done {
        Ok(status) => status.into(),
        Err(error) => {
            eprintln!("error: {}", plain(&format!("{error:#}")));
            exit_code(&error).into()
        }
    }
}

/// The object parser may panic on a damaged object. The library turns that into an error, so the message is suppressed.
fn quieten_parser() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !panic
            .location()
            .is_some_and(|at| at.file().contains("aya-obj"))
        {
            usual(panic);
        }
    }));
}
