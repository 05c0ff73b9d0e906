//! The settings of a table of the file, as arguments of a command.

use std::path::Path;

use clap::{Arg, ArgAction, Command, ValueHint, error::ContextValue};
use toml::{Spanned, de::DeValue};

/// A key of the file.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) key: String,
    pub(super) arguments: Vec<String>,
    /// The file and the line, as `harness.toml:3`.
    pub(super) place: String,
}

/// The options of a command that a file can set: those with a long name that people see.
pub(super) fn options(command: &Command) -> impl Iterator<Item = &Arg> {
    let options = command.get_arguments();
    options.filter(|arg| arg.get_long().is_some() && !arg.is_hide_set() && !is_about_files(arg))
}

/// Whether an option is about the file itself, or asks for help.
pub(super) fn is_about_files(arg: &Arg) -> bool {
    let names = ["config", "help", "no_config", "profile", "version"];
    names.contains(&arg.get_id().as_str())
}

/// Whether an option belongs to one call: what reaches beyond the VM must not come from a file that a clone brings.
pub(super) fn is_for_one_call(arg: &Arg) -> bool {
    ["gdb", "mounts", "out", "qemu_args"].contains(&arg.get_id().as_str())
}

/// The arguments for a value, or what the value must be. Paths are relative to `folder`.
pub(super) fn arguments(
    option: &Arg,
    value: &Spanned<DeValue<'_>>,
    folder: &Path,
) -> Result<Vec<String>, &'static str> {
    let name = option.get_long().unwrap_or_default();
    let is_switch = matches!(option.get_action(), ArgAction::SetTrue);
    match (value.get_ref(), is_switch) {
        (DeValue::Boolean(true), true) => Ok(vec![format!("--{name}")]),
        (DeValue::Boolean(false), true) => Ok(Vec::new()),
        (_, true) => Err("true or false"),
        (DeValue::Array(values), false) => {
            let values = values.iter().map(|value| text(value.get_ref()));
            let values: Option<Vec<_>> = values.collect();
            let values = values.ok_or(SCALAR)?;
            Ok(values
                .into_iter()
                .map(|value| argument(option, &value, folder))
                .collect())
        }
        (value, false) => Ok(vec![argument(option, &text(value).ok_or(SCALAR)?, folder)]),
    }
}

const SCALAR: &str = "a string or a number, or a list of them";

fn text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => {
            let number = i64::from_str_radix(number.as_str(), number.radix());
            number.ok().map(|number| number.to_string())
        }
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        _ => None,
    }
}

fn argument(option: &Arg, value: &str, folder: &Path) -> String {
    let name = option.get_long().unwrap_or_default();
    let is_path = matches!(
        option.get_value_hint(),
        ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath
    );
    match is_path {
        true => format!("--{name}={}", folder.join(value).display()),
        false => format!("--{name}={value}"),
    }
}

/// Which settings an error of the parser is about.
pub(super) fn notes(settings: &[Setting], error: &clap::Error) -> Vec<String> {
    let mut named = Vec::new();
    for (_, value) in error.context() {
        match value {
            ContextValue::String(text) => named.push(text.clone()),
            ContextValue::Strings(texts) => named.extend(texts.iter().cloned()),
            _ => {}
        }
    }
    let is_named = |setting: &&Setting| {
        let option = format!("--{}", setting.key);
        let mut words = named.iter().flat_map(|text| text.split([' ', '=']));
        words.any(|word| word == option)
    };
    let about = settings.iter().filter(is_named);
    about
        .map(|setting| format!("--{} is set in {}", setting.key, setting.place))
        .collect()
}
