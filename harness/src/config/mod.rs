//! `harness.toml`: options of the command line in a file beside a project.
//!
//! A key is an option under its long name, and a table is a command, so that the file needs no definitions of its own: its
//! settings become arguments, and the parser of the command line checks them.

mod file;
mod settings;

use std::{ffi::OsString, path::PathBuf};

use anyhow::Result;
use clap::{
    Arg, ArgAction, ArgMatches, Command, CommandFactory as _, FromArgMatches as _,
    parser::ValueSource,
};

use self::{file::File, settings::Setting};
use crate::{cli::Cli, support::error::usage};

/// The name of the file.
pub const NAME: &str = "harness.toml";

/// Why the command line is refused.
#[derive(Debug)]
pub enum Refused {
    /// The parser refuses an argument; the notes say which of them the file sets. Also for `--help`.
    Arguments(clap::Error, Vec<String>),
    /// The file is wrong.
    File(anyhow::Error),
}

impl From<clap::Error> for Refused {
    fn from(error: clap::Error) -> Self {
        Self::Arguments(error, Vec::new())
    }
}

impl From<anyhow::Error> for Refused {
    fn from(error: anyhow::Error) -> Self {
        Self::File(error)
    }
}

/// Parses the command line, with the settings of the file for what it does not say.
pub fn parse(args: &[OsString]) -> Result<Cli, Refused> {
    let mut command = with_negations(Cli::command());
    command.build();
    if let Err(error) = command.clone().try_get_matches_from(args)
        && !is_incomplete(&error)
    {
        return Err(error.into());
    }
    // What the command line says itself, although it may be complete only with the file.
    let loose = command.clone().ignore_errors(true);
    let loose = loose.try_get_matches_from(args)?;
    let (path, said) = leaf(&loose);
    let settings = match read(said, &command)? {
        None => Vec::new(),
        Some((file, profile)) => {
            let called = called(&command, &path)?;
            file.settings(&path, profile.as_deref())?
                .into_iter()
                .filter(|setting| !is_said(setting, called, said))
                .collect()
        }
    };
    let mut all = args.to_vec();
    let first = (1 + path.len()).min(all.len());
    let added = settings
        .iter()
        .flat_map(|setting| setting.arguments.iter().map(OsString::from));
    all.splice(first..first, added);
    let parsed = command.try_get_matches_from(all);
    let parsed = parsed.and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.map_err(|error| {
        let notes = settings::notes(&settings, &error);
        Refused::Arguments(error, notes)
    })
}

/// Whether the file may have what the command line lacks.
fn is_incomplete(error: &clap::Error) -> bool {
    use clap::error::ErrorKind::{
        DisplayHelpOnMissingArgumentOrSubcommand, MissingRequiredArgument,
    };
    matches!(
        error.kind(),
        MissingRequiredArgument | DisplayHelpOnMissingArgumentOrSubcommand
    )
}

/// The file that the command line names, or the nearest one, and the profile.
fn read(said: &ArgMatches, command: &Command) -> Result<Option<(File, Option<String>)>> {
    let profile = said.try_get_one::<String>("profile").ok().flatten();
    let profile = profile.cloned();
    let named = said
        .try_get_one::<PathBuf>("config")
        .ok()
        .flatten()
        .cloned();
    let no_file = said.try_get_one("no_config").ok().flatten().copied();
    let no_file = no_file.unwrap_or(false);
    let found = match (no_file, named) {
        (true, _) => None,
        (false, Some(named)) => Some(named),
        (false, None) => nearest(),
    };
    match (found, profile) {
        (Some(path), profile) => Ok(Some((File::read(&path, command)?, profile))),
        (None, Some(profile)) => Err(usage(format!(
            "--profile {profile}: there is no {NAME} in this folder or above it"
        ))),
        (None, None) => Ok(None),
    }
}

/// The file in the current folder, or in the nearest folder above it.
fn nearest() -> Option<PathBuf> {
    let current = std::env::current_dir().ok()?;
    let mut files = current.ancestors().map(|folder| folder.join(NAME));
    files.find(|file| file.is_file())
}

/// The names of the commands that are called, and the arguments of the last.
fn leaf(matches: &ArgMatches) -> (Vec<String>, &ArgMatches) {
    let (mut path, mut last) = (Vec::new(), matches);
    while let Some((name, next)) = last.subcommand() {
        path.push(name.to_owned());
        last = next;
    }
    (path, last)
}

fn called<'a>(command: &'a Command, path: &[String]) -> Result<&'a Command> {
    let next = |command: &'a Command, name: &String| command.find_subcommand(name);
    path.iter()
        .try_fold(command, next)
        .ok_or_else(|| usage(format!("there is no command {}", path.join(" "))))
}

/// Whether the command line or the environment says something about this option, or about one that excludes it.
fn is_said(setting: &Setting, command: &Command, said: &ArgMatches) -> bool {
    let is_explicit = |arg: &&Arg| {
        let id = arg.get_id().as_str();
        let source = said
            .try_contains_id(id)
            .ok()
            .and_then(|_| said.value_source(id));
        matches!(
            source,
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        )
    };
    let opposite = negation(&setting.key);
    let is_about = |arg: &Arg| {
        let long = arg.get_long();
        long == Some(&setting.key) || long == Some(&opposite)
    };
    let excludes = |arg: &Arg, is_other: &dyn Fn(&Arg) -> bool| {
        let others = command.get_arg_conflicts_with(arg);
        others.into_iter().any(is_other)
    };
    let Some(option) = command.get_arguments().find(|arg| is_about(arg)) else {
        return false;
    };
    let mut explicit = command.get_arguments().filter(is_explicit);
    explicit.any(|arg| {
        let is_arg = |other: &Arg| other.get_id() == arg.get_id();
        is_about(arg) || excludes(arg, &is_about) || excludes(option, &is_arg)
    })
}

/// Adds to each switch, as `--serial`, its opposite, `--no-serial`, for a switch that the file turns on.
fn with_negations(command: Command) -> Command {
    let switches: Vec<_> = command
        .get_arguments()
        .filter(|arg| {
            matches!(arg.get_action(), ArgAction::SetTrue) && !settings::is_about_files(arg)
        })
        .filter_map(|arg| Some((arg.get_id().clone(), arg.get_long()?.to_owned())))
        .collect();
    let mut command = command;
    for (id, long) in switches {
        let opposite = negation(&long);
        let arg = Arg::new(opposite.clone())
            .long(opposite)
            .action(ArgAction::SetTrue);
        command = command.arg(arg.hide(true).overrides_with(id));
    }
    command.mut_subcommands(with_negations)
}

fn negation(long: &str) -> String {
    match long.strip_prefix("no-") {
        Some(plain) => plain.to_owned(),
        None => format!("no-{long}"),
    }
}

#[cfg(test)]
mod tests;
