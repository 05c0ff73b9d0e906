//! Which programs of the objects are tried, and which may be refused: `--program`, `--optional`, `--any-of`.

use anyhow::Result;
use glob::Pattern;

use super::Object;
use crate::support::error::usage;

/// The three options.
#[derive(Debug, Default)]
pub(super) struct Selection {
    programs: Vec<Pattern>,
    optional: Vec<Pattern>,
    any_of: Vec<Vec<String>>,
}

impl Selection {
    /// Reads the options and fails if one of them matches no program.
    pub(super) fn parse(
        objects: &[Object],
        programs: &[String],
        optional: &[String],
        any_of: &[String],
    ) -> Result<Self> {
        let names: Vec<&str> = objects
            .iter()
            .flat_map(|object| object.parsed.programs())
            .map(|(name, _)| name)
            .collect();
        let groups = any_of.iter().map(|text| group(text, &names));
        Ok(Self {
            programs: patterns("--program", programs, &names)?,
            optional: patterns("--optional", optional, &names)?,
            any_of: groups.collect::<Result<_>>()?,
        })
    }

    /// Whether the program is tried: by default each one.
    pub(super) fn takes(&self, program: &str) -> bool {
        self.programs.is_empty() || matches(&self.programs, program)
    }

    /// Whether the object works without the program.
    pub(super) fn is_optional(&self, program: &str) -> bool {
        matches(&self.optional, program)
    }

    /// The programs of which one is enough, this one among them.
    pub(super) fn any_of(&self, program: &str) -> Vec<String> {
        let group = self
            .any_of
            .iter()
            .find(|group| group.iter().any(|name| name == program));
        group.cloned().unwrap_or_default()
    }
}

fn matches(patterns: &[Pattern], program: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(program))
}

fn patterns(option: &str, texts: &[String], names: &[&str]) -> Result<Vec<Pattern>> {
    let pattern = |text: &String| {
        let pattern = Pattern::new(text)
            .map_err(|error| usage(format!("{option} `{text}` is not a pattern: {}", error.msg)))?;
        if names.iter().any(|name| pattern.matches(name)) {
            Ok(pattern)
        } else {
            Err(unknown(&format!("{option} `{text}`"), names))
        }
    };
    texts.iter().map(pattern).collect()
}

fn group(text: &str, names: &[&str]) -> Result<Vec<String>> {
    let group: Vec<String> = text.split(',').map(str::to_owned).collect();
    if let Some(name) = group.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(unknown(&format!("--any-of `{text}`: `{name}`"), names));
    }
    Ok(group)
}

fn unknown(what: &str, names: &[&str]) -> anyhow::Error {
    usage(format!(
        "{what} matches no program of the objects; they have {}",
        names.join(", ")
    ))
}
