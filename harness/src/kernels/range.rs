//! Ranges of kernel versions.

use std::fmt;

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

    fn range(from: &str, until: &str) -> Result<Range, String> {
        let bound = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Range::try_from(Bounds {
            from: bound(from),
            until: bound(until),
        })
    }

    #[test]
    fn range_excludes_its_end() {
        for (from, until, version, inside) in [
            ("", "", "5.5", true),
            ("5.11", "", "5.10.262", false),
            ("5.11", "", "5.11", true),
            ("", "5.10", "5.9.1", true),
            ("", "5.10", "5.10", false),
            ("5.6", "5.10", "5.5.19", false),
            ("5.6", "5.10", "5.6", true),
        ] {
            let range = range(from, until).unwrap();
            assert_eq!(
                range.contains(version.parse().unwrap()),
                inside,
                "{range} {version}"
            );
        }
    }

    #[test]
    fn invalid_ranges_are_refused() {
        for (from, until) in [("x", ""), ("", "tomorrow"), ("5.10", "5.10")] {
            assert!(range(from, until).is_err(), "{from} {until}");
        }
    }
}
