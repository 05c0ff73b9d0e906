//! The plan of a run: which scenarios and programs run on each kernel.

use anyhow::Context as _;
use glob::Pattern;
use protocol::scenario::Scenario;

use crate::{
    initramfs::bpf_objects::Programs,
    kernels::Arch,
    report::{
        KernelReport, Running,
        observed::{self, programs},
    },
    support::{error::usage, similar::similar},
};

/// The list of scenarios, which the guest writes at build time.
const CATALOG: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/scenarios.json"));

/// The scenarios that match `patterns`, in that order, or all that are not hidden if there are no patterns.
///
/// A hidden scenario fails on purpose. It is selected only by its exact id.
pub fn select(patterns: &[String]) -> anyhow::Result<Vec<Scenario>> {
    select_from(&catalog()?, patterns)
}

/// Every scenario of the guest, hidden ones included, in the order of a full run.
pub fn catalog() -> anyhow::Result<Vec<Scenario>> {
    serde_json::from_slice(CATALOG).context("the built-in list of scenarios cannot be read")
}

fn select_from(all: &[Scenario], patterns: &[String]) -> anyhow::Result<Vec<Scenario>> {
    let visible = || all.iter().filter(|scenario| !scenario.hidden);
    if patterns.is_empty() {
        return Ok(visible().cloned().collect());
    }
    let mut selected: Vec<Scenario> = Vec::new();
    for text in patterns {
        let pattern = Pattern::new(text).map_err(|e| {
            usage(format!(
                "`{text}` is not a pattern for scenarios: {}",
                e.msg
            ))
        })?;
        let is_match = |scenario: &&Scenario| {
            scenario.id == *text || (!scenario.hidden && pattern.matches(&scenario.id))
        };
        let mut matches = all.iter().filter(is_match).peekable();
        if matches.peek().is_none() {
            return Err(usage(unknown(text, visible())));
        }
        for scenario in matches {
            if !selected.iter().any(|known| known.id == scenario.id) {
                selected.push(scenario.clone());
            }
        }
    }
    Ok(selected)
}

fn unknown<'a>(text: &str, visible: impl Iterator<Item = &'a Scenario>) -> String {
    let similar = similar(text, visible.map(|scenario| scenario.id.as_str()));
    let hint = if similar.is_empty() {
        "--list shows all".to_owned()
    } else {
        format!("did you mean {}? --list shows all", similar.join(", "))
    };
    format!("no scenario is called `{text}`; {hint}")
}

/// The scenarios and programs that run on each kernel.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) planned: Vec<Scenario>,
    pub(crate) programs: Programs,
}

impl Plan {
    /// Whether nothing is to run.
    pub(crate) fn is_empty(&self) -> bool {
        self.planned.is_empty() && self.programs.planned().is_empty()
    }

    /// The part of it with these ids. The programs of a kernel run together: all of them, or none.
    pub(crate) fn only(&self, ids: &[String]) -> Self {
        let is_asked = |id: &String| ids.contains(id);
        let planned = self.planned.iter();
        let planned = planned.filter(|scenario| is_asked(&scenario.id));
        let mut programs = self.programs.planned().iter();
        Self {
            planned: planned.cloned().collect(),
            programs: match programs.any(|program| is_asked(&program.id())) {
                true => self.programs.clone(),
                false => Programs::default(),
            },
        }
    }

    /// A kernel that was not run, and why.
    pub(crate) fn not_run(&self, name: &str, why: &str) -> KernelReport {
        let mut report = KernelReport {
            requested: name.to_owned(),
            arch: Arch::of_name(name),
            error: Some(why.to_owned()),
            ..KernelReport::default()
        };
        self.none_reached(None, why, &mut report);
        report
    }

    /// Lists everything as not reached.
    pub(crate) fn none_reached(
        &self,
        running: Option<Running>,
        why: &str,
        report: &mut KernelReport,
    ) {
        report.scenarios = observed::none_reached(&self.planned, running, why);
        report.programs = programs::none_reached(&self.programs, why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(patterns: &[&str]) -> Result<Vec<String>, String> {
        let all = ["attach", "attach_twice", "unload", "selftest_panic"].map(|id| Scenario {
            id: id.into(),
            hidden: id == "selftest_panic",
            ..Scenario::default()
        });
        let patterns: Vec<_> = patterns.iter().map(ToString::to_string).collect();
        select_from(&all, &patterns)
            .map(|selected| selected.into_iter().map(|scenario| scenario.id).collect())
            .map_err(|e| e.to_string())
    }

    #[test]
    fn built_in_list_has_the_scenarios_of_the_guest() {
        let all = catalog().unwrap();
        let attach = all.iter().find(|scenario| scenario.id == "attach").unwrap();
        assert_eq!(attach.feature.as_deref(), Some("fexit"));
        assert_eq!(attach.minimum, Some((5, 5)));
        assert!(attach.timeout.as_secs() >= 1 && !attach.hidden);
        assert!(all.iter().any(|scenario| scenario.hidden));
    }

    #[test]
    fn selects_by_id_pattern_or_all() {
        assert_eq!(ids(&[]).unwrap(), ["attach", "attach_twice", "unload"]);
        assert_eq!(
            ids(&["unload", "attach*"]).unwrap(),
            ["unload", "attach", "attach_twice"]
        );
        assert_eq!(ids(&["attach*"]).unwrap(), ["attach", "attach_twice"]);
        assert_eq!(ids(&["?nload", "unload"]).unwrap(), ["unload"]);
    }

    #[test]
    fn hidden_scenarios_run_only_by_exact_id() {
        assert_eq!(ids(&["selftest_panic"]).unwrap(), ["selftest_panic"]);
        assert_eq!(ids(&["*"]).unwrap(), ["attach", "attach_twice", "unload"]);
        assert!(ids(&["selftest_*"]).is_err());
    }

    #[test]
    fn unknown_scenario_is_refused_with_a_suggestion() {
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
