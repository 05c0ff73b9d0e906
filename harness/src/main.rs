//! The command line of the harness.

use std::{env, ffi::OsString, panic, process::ExitCode};

use anyhow::Result;
use clap::{ColorChoice, ValueEnum as _};
use harness::{
    cli::{Cli, Command},
    commands::{
        cache, completions, exec, functions, inspect, kernels, list, man, minimum, reports, run,
        veristat,
    },
    config::{self, Refused},
    support::{
        error::{exit_code, report},
        sanitize::plain,
    },
};

fn main() -> ExitCode {
    quieten_parser();
    let args: Vec<_> = env::args_os().collect();
    color_before_parsing(&args);
    let cli = match config::parse(&args) {
        Ok(cli) => cli,
        Err(refused) => return refuse(refused),
    };
    cli.color.write_global();
    match run(&cli) {
        Ok(status) => status.into(),
        Err(error) => {
            report(&error);
            exit_code(&error).into()
        }
    }
}

/// Prints why the command line is refused, or the help that it asks for.
fn refuse(refused: Refused) -> ExitCode {
    match refused {
        Refused::File(error) => {
            report(&error);
            exit_code(&error).into()
        }
        Refused::Arguments(error, notes) => {
            // An error means that stdout or stderr is closed.
            let _ = error.print();
            for note in notes {
                eprintln!("note: {}", plain(&note));
            }
            u8::try_from(error.exit_code()).unwrap_or(2).into()
        }
    }
}

fn run(cli: &Cli) -> Result<u8> {
    match &cli.command {
        None => run::run(&cli.run),
        Some(Command::Run(args)) => run::run(args),
        Some(Command::List(args)) => list::print(args),
        Some(Command::Exec(args)) => Ok(exec::run(args)),
        Some(Command::Shell(args)) => Ok(exec::shell(args)),
        Some(Command::Minimum(args)) => minimum::run(args),
        Some(Command::Veristat(args)) => veristat::run(args),
        Some(Command::Inspect(args)) => inspect::run(args),
        Some(Command::Functions(args)) => functions::run(args),
        Some(Command::Kernels { command }) => kernels::command(command),
        Some(Command::Cache { command }) => cache::command(command),
        Some(Command::Compare(args)) => reports::compare(args),
        Some(Command::Report(args)) => reports::merge(args),
        Some(Command::Completions { shell }) => completions::print(*shell),
        Some(Command::Man { dir }) => man::write(dir),
    }
}

/// Applies `--color` to the help and to the errors of the parser, which prints them before it returns the option.
fn color_before_parsing(args: &[OsString]) {
    let args = args.iter().take_while(|arg| *arg != "--");
    let next = args.clone().skip(1).map(Some).chain([None]);
    for (arg, next) in args.zip(next) {
        let arg = arg.to_string_lossy();
        let when = match (arg.strip_prefix("--color="), next) {
            (Some(when), _) => when.to_owned(),
            (None, Some(next)) if arg == "--color" => next.to_string_lossy().into_owned(),
            _ => continue,
        };
        if let Ok(when) = ColorChoice::from_str(&when, false) {
            colorchoice_clap::Color { color: when }.write_global();
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
