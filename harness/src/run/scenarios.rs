//! Which scenarios to run.

use glob::Pattern;

use crate::{error::usage, report::observed::Planned};

/// How much two names must have in common for one to be offered for the other.
const SIMILAR: f64 = 0.75;

/// Every scenario that the guest has.
pub fn all() -> Vec<Scenario> {
    Vec::new()
}

/// The scenarios that `patterns` name, in the order asked, or all that are not hidden if there are none.
///
/// A hidden scenario, one that is made to fail, runs only when its whole id is given.
pub fn select(all: &[Scenario], patterns: &[String]) -> anyhow::Result<Vec<Planned>> {
    if patterns.is_empty() {
        return Ok(all
            .iter()
            .filter(|s| !s.hidden)
            .map(|s| s.planned)
            .collect());
    }
    let mut selected: Vec<Planned> = Vec::new();
    for text in patterns {
        let wanted = Wanted::new(text)?;
        let mut taken = all
            .iter()
            .filter(|scenario| wanted.takes(scenario))
            .peekable();
        if taken.peek().is_none() {
            return Err(usage(unknown(&wanted, all)));
        }
        for Scenario { planned, .. } in taken {
            if !selected.iter().any(|known| known.id == planned.id) {
                selected.push(*planned);
            }
        }
    }
    Ok(selected)
}

/// What selecting needs to know of a scenario.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its id and claim.
    pub planned: Planned,
    /// Whether it runs only when named.
    pub hidden: bool,
}

struct Wanted<'a> {
    text: &'a str,
    pattern: Pattern,
}

impl<'a> Wanted<'a> {
    fn new(text: &'a str) -> anyhow::Result<Self> {
        let pattern = Pattern::new(text).map_err(|e| {
            usage(format!(
                "`{text}` is not a pattern for scenarios: {}",
                e.msg
            ))
        })?;
        Ok(Self { text, pattern })
    }

    fn takes(&self, scenario: &Scenario) -> bool {
        let id = scenario.planned.id;
        id == self.text || (!scenario.hidden && self.pattern.matches(id))
    }
}

fn unknown(wanted: &Wanted<'_>, all: &[Scenario]) -> String {
    let ids = || all.iter().filter(|s| !s.hidden).map(|s| s.planned.id);
    let mut near: Vec<_> = ids()
        .map(|id| (strsim::jaro_winkler(wanted.text, id), id))
        .filter(|(likeness, id)| *likeness >= SIMILAR || id.contains(wanted.text))
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    let near: Vec<_> = near.into_iter().take(3).map(|(_, id)| id).collect();
    let hint = if near.is_empty() {
        "--list shows all".to_owned()
    } else {
        format!("did you mean {}? --list shows all", near.join(", "))
    };
    format!("no scenario is called `{}`; {hint}", wanted.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(patterns: &[&str]) -> Result<Vec<&'static str>, String> {
        let all = [
            ("attach", false),
            ("attach_twice", false),
            ("unload", false),
            ("selftest_panic", true),
        ];
        let all = all.map(|(id, hidden)| Scenario {
            planned: Planned {
                id,
                title: "",
                feature: "fexit",
                minimum: "5.5",
            },
            hidden,
        });
        let patterns: Vec<_> = patterns.iter().map(ToString::to_string).collect();
        select(&all, &patterns)
            .map(|planned| planned.iter().map(|p| p.id).collect())
            .map_err(|e| e.to_string())
    }

    #[test]
    fn by_id_by_pattern_or_all() {
        assert_eq!(ids(&[]).unwrap(), ["attach", "attach_twice", "unload"]);
        assert_eq!(
            ids(&["unload", "attach*"]).unwrap(),
            ["unload", "attach", "attach_twice"]
        );
        assert_eq!(ids(&["attach*"]).unwrap(), ["attach", "attach_twice"]);
        assert_eq!(ids(&["?nload", "unload"]).unwrap(), ["unload"]);
    }

    #[test]
    fn what_is_hidden_runs_only_by_its_whole_name() {
        assert_eq!(ids(&["selftest_panic"]).unwrap(), ["selftest_panic"]);
        assert_eq!(ids(&["*"]).unwrap(), ["attach", "attach_twice", "unload"]);
        assert!(ids(&["selftest_*"]).is_err());
    }

    #[test]
    fn a_stray_name_is_refused_with_the_nearest() {
        assert_eq!(
            ids(&["atach"]).unwrap_err(),
            "no scenario is called `atach`; did you mean attach, attach_twice? --list shows all"
        );
        assert_eq!(
            ids(&["attach", "zzz*"]).unwrap_err(),
            "no scenario is called `zzz*`; --list shows all"
        );
        assert!(ids(&["[a"]).unwrap_err().contains("not a pattern"));
    }
}
