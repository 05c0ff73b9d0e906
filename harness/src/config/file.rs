//! The file: its tables, and the profiles in it.

use std::{
    borrow::Cow,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;
use clap::Command;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::settings::{self, Setting};
use crate::support::{error::usage, similar::similar};

/// The table of profiles. Each profile is like the whole file.
const PROFILES: &str = "profile";

/// The command whose options are at the top.
const RUN: &str = "run";

/// A file whose keys are all known.
#[derive(Debug)]
pub(super) struct File {
    name: String,
    base: Table,
    profiles: Vec<(String, Table)>,
}

/// The settings of a command, and those of its subcommands.
#[derive(Debug, Default)]
struct Table {
    settings: Vec<Setting>,
    commands: Vec<(String, Self)>,
}

impl File {
    /// Reads a file for this command line. All errors are usage errors.
    pub(super) fn read(path: &Path, command: &Command) -> Result<Self> {
        let name = path.display().to_string();
        let text =
            fs::read_to_string(path).map_err(|e| usage(format!("cannot read {name}: {e}")))?;
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let reader = Reader {
            name: &name,
            text: &text,
            folder: path.parent().map(Path::to_owned).unwrap_or_default(),
        };
        let mut file = Self {
            name: name.clone(),
            base: Table::default(),
            profiles: Vec::new(),
        };
        let table = DeTable::parse(&text);
        let table = table.map_err(|e| usage(format!("{name}: {}", e.to_string().trim_end())))?;
        for (key, value) in table.get_ref() {
            match value.get_ref() {
                DeValue::Table(profiles) if key.get_ref() == PROFILES => {
                    for (name, value) in profiles {
                        let table = reader.table(name, value, command)?;
                        file.profiles.push((name.get_ref().to_string(), table));
                    }
                }
                _ => reader.entry(key, value, command, &mut file.base)?,
            }
        }
        Ok(file)
    }

    /// The settings for a command. Those of the profile replace the others.
    pub(super) fn settings(&self, path: &[String], profile: Option<&str>) -> Result<Vec<Setting>> {
        // The options of a run are at the top, as in the bare form of the command line.
        let path = match path {
            [run] if run == RUN => &[],
            path => path,
        };
        let profile = profile.map(|name| self.profile(name)).transpose()?;
        let mut settings = profile.map_or_else(Vec::new, |profile| profile.of(path));
        for setting in self.base.of(path) {
            if settings.iter().all(|known| known.key != setting.key) {
                settings.push(setting);
            }
        }
        Ok(settings)
    }

    fn profile(&self, name: &str) -> Result<&Table> {
        let mut profiles = self.profiles.iter();
        let found = profiles
            .find(|(known, _)| known == name)
            .map(|(_, table)| table);
        found.ok_or_else(|| {
            let names: Vec<_> = self
                .profiles
                .iter()
                .map(|(name, _)| name.as_str())
                .collect();
            let names = match names.as_slice() {
                [] => "it has none".to_owned(),
                names => format!("it has {}", names.join(", ")),
            };
            usage(format!("{} has no profile `{name}`; {names}", self.name))
        })
    }
}

impl Table {
    fn of(&self, path: &[String]) -> Vec<Setting> {
        let Some((first, rest)) = path.split_first() else {
            return self.settings.clone();
        };
        let mut commands = self.commands.iter();
        let found = commands.find(|(name, _)| name == first);
        found.map_or_else(Vec::new, |(_, table)| table.of(rest))
    }
}

/// Reads tables, and names the place of an error.
struct Reader<'a> {
    name: &'a str,
    text: &'a str,
    folder: PathBuf,
}

impl Reader<'_> {
    fn table(
        &self,
        key: &Spanned<Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
        command: &Command,
    ) -> Result<Table> {
        let DeValue::Table(entries) = value.get_ref() else {
            let place = self.place(key.span().start);
            return Err(usage(format!(
                "{place}: `{}` must be a table",
                key.get_ref()
            )));
        };
        let mut table = Table::default();
        for (key, value) in entries {
            self.entry(key, value, command, &mut table)?;
        }
        Ok(table)
    }

    /// Adds an option, or the table of a subcommand.
    fn entry(
        &self,
        key: &Spanned<Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
        command: &Command,
        table: &mut Table,
    ) -> Result<()> {
        let name = key.get_ref().as_ref();
        let place = self.place(key.span().start);
        let is_table = matches!(value.get_ref(), DeValue::Table(_));
        if is_table && name == RUN {
            let why = "the options of a run are at the top of the file, without a table";
            return Err(usage(format!("{place}: `{name}`: {why}")));
        }
        if let Some(subcommand) = command.find_subcommand(name).filter(|_| is_table) {
            let commands = self.table(key, value, subcommand)?;
            table.commands.push((name.to_owned(), commands));
            return Ok(());
        }
        let Some(option) = settings::options(command).find(|arg| arg.get_long() == Some(name))
        else {
            return Err(unknown(&place, name, command));
        };
        if settings::is_for_one_call(option) {
            return Err(usage(format!(
                "{place}: `{name}` is for the command line only, since it reaches beyond the VM"
            )));
        }
        let arguments = settings::arguments(option, value, &self.folder)
            .map_err(|what| usage(format!("{place}: `{name}` must be {what}")))?;
        table.settings.push(Setting {
            key: name.to_owned(),
            arguments,
            place,
        });
        Ok(())
    }

    /// The file and the line of a byte of it.
    fn place(&self, at: usize) -> String {
        let before = self.text.as_bytes().iter().take(at);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        format!("{}:{line}", self.name)
    }
}

fn unknown(place: &str, name: &str, command: &Command) -> anyhow::Error {
    let commands = command
        .get_subcommands()
        .filter(|command| !command.is_hide_set());
    let names = settings::options(command).filter_map(clap::Arg::get_long);
    let names = names.chain(commands.map(Command::get_name));
    let hint = match similar(name, names).as_slice() {
        [] => format!(
            "the keys are the options of `{}`",
            command.get_bin_name().unwrap_or("harness")
        ),
        names => format!("did you mean {}?", names.join(", ")),
    };
    usage(format!("{place}: there is no option `{name}`; {hint}"))
}
