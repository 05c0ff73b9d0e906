//! Ranges of kernel versions.

use std::fmt;

use anyhow::{Result, anyhow, bail};
use fexit::KernelVersion;
use serde::Deserialize;

/// The versions from `from` up to, but without, `until`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Bounds")]
pub(crate) struct Range {
    from: Option<KernelVersion>,
    until: Option<KernelVersion>,
}

/// The range as the data files have it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bounds {
    from: Option<String>,
    until: Option<String>,
}

impl Range {
    pub(crate) fn contains(self, version: KernelVersion) -> bool {
        self.from.is_none_or(|from| version >= from)
            && self.until.is_none_or(|until| version < until)
    }

    /// Reads `all`, `from 5.11`, `until 5.10`, or both of the latter.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut bounds = Bounds::default();
        let mut words = text.split_whitespace();
        while let Some(word) = words.next() {
            match (word, words.next()) {
                ("all", None) => {}
                ("from", Some(version)) => bounds.from = Some(version.to_owned()),
                ("until", Some(version)) => bounds.until = Some(version.to_owned()),
                _ => bail!("{text:?} is not a range: write `all`, `from 5.11`, or `until 5.10`"),
            }
        }
        Self::try_from(bounds).map_err(|why| anyhow!(why))
    }
}

impl TryFrom<Bounds> for Range {
    type Error = String;

    fn try_from(bounds: Bounds) -> Result<Self, String> {
        let version = |text: Option<String>| {
            text.map(|text| text.parse().map_err(|e| format!("{e}")))
                .transpose()
        };
        let range = Self {
            from: version(bounds.from)?,
            until: version(bounds.until)?,
        };
        match range {
            Self {
                from: Some(from),
                until: Some(until),
            } if from >= until => Err(format!("no kernel is {range}")),
            range => Ok(range),
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.from, self.until) {
            (None, None) => write!(f, "any"),
            (Some(from), None) => write!(f, "from {from}"),
            (None, Some(until)) => write!(f, "until {until}"),
            (Some(from), Some(until)) => write!(f, "from {from} until {until}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_excludes_its_end() {
        for (range, version, inside) in [
            ("all", "5.5", true),
            ("from 5.11", "5.10.262", false),
            ("from 5.11", "5.11", true),
            ("until 5.10", "5.9.1", true),
            ("until 5.10", "5.10", false),
            ("from 5.6 until 5.10", "5.5.19", false),
            ("from 5.6 until 5.10", "5.6", true),
        ] {
            let parsed = Range::parse(range).unwrap();
            assert_eq!(
                parsed.contains(version.parse().unwrap()),
                inside,
                "{range} {version}"
            );
        }
    }

    #[test]
    fn invalid_ranges_are_refused() {
        for text in [
            "since 5.5",
            "from",
            "from x",
            "all of it",
            "from 5.10 until 5.10",
        ] {
            assert!(Range::parse(text).is_err(), "{text}");
        }
    }
}
