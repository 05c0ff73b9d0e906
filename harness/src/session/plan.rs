//! Which scenarios to run.

use glob::Pattern;

use guest::{scenario::Scenario, scenarios};

use crate::support::error::usage;

/// How much two names must have in common for one to be offered for the other.
const SIMILAR: f64 = 0.75;

/// The scenarios that `patterns` name, in the order asked, or all that are not hidden if there are none.
///
/// A hidden scenario, one that is made to fail, runs only when its whole id is given.
pub fn select(patterns: &[String]) -> anyhow::Result<Vec<&'static Scenario>> {
    select_from(&scenarios::all().collect::<Vec<_>>(), patterns)
}

fn select_from<'a>(all: &[&'a Scenario], patterns: &[String]) -> anyhow::Result<Vec<&'a Scenario>> {
    let all = || all.iter().copied();
    if patterns.is_empty() {
        return Ok(all().filter(|scenario| !scenario.hidden).collect());
    }
    let mut selected: Vec<&Scenario> = Vec::new();
    for text in patterns {
        let wanted = Wanted::new(text)?;
        let mut taken = all().filter(|scenario| wanted.takes(scenario)).peekable();
        if taken.peek().is_none() {
            return Err(usage(unknown(&wanted, all())));
        }
        for scenario in taken {
            if !selected.iter().any(|known| known.id == scenario.id) {
                selected.push(scenario);
            }
        }
    }
    Ok(selected)
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
        scenario.id == self.text || (!scenario.hidden && self.pattern.matches(scenario.id))
    }
}

fn unknown<'a>(wanted: &Wanted<'_>, all: impl Iterator<Item = &'a Scenario>) -> String {
    let mut near: Vec<_> = all
        .filter(|scenario| !scenario.hidden)
        .map(|scenario| scenario.id)
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
    use fexit::Feature;

    fn ids(patterns: &[&str]) -> Result<Vec<&'static str>, String> {
        const fn scenario(id: &'static str) -> Scenario {
            Scenario::new(id, "", Feature::Fexit, |_| Ok(()))
        }
        const ATTACH: Scenario = scenario("attach");
        const TWICE: Scenario = scenario("attach_twice");
        const UNLOAD: Scenario = scenario("unload");
        const PANIC: Scenario = scenario("selftest_panic").hidden();
        let patterns: Vec<_> = patterns.iter().map(ToString::to_string).collect();
        select_from(&[&ATTACH, &TWICE, &UNLOAD, &PANIC], &patterns)
            .map(|selected| selected.iter().map(|scenario| scenario.id).collect())
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
