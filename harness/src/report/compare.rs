//! What changed between two reports.

use std::fmt;

use guest::event::Outcome;

use super::{
    KernelReport, Report, ScenarioReport, ScenarioVerdict,
    slower::{self, Slower},
    verdict::outcome_name,
};

/// A scenario on a kernel whose verdict is another than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The kernel, as it was asked for.
    pub kernel: String,
    /// The scenario's id.
    pub scenario: String,
    /// What happened before; `None` when the old report does not have it.
    pub before: Option<Outcome>,
    /// What happened now; `None` when the new report does not have it.
    pub now: Option<Outcome>,
    /// Why, in the new report's words.
    pub error: Option<String>,
}

/// All that changed. A pair of kernel and scenario is in one of the first five lists at most.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// Not-ok now, and not known to be so before.
    pub regressed: Vec<Change>,
    /// Not-ok before, ok now.
    pub fixed: Vec<Change>,
    /// Judged before, not now: skipped, or never reached.
    pub lost: Vec<Change>,
    /// Not in the old report.
    pub new: Vec<Change>,
    /// Not in the new report.
    pub gone: Vec<Change>,
    /// Ok in both, yet slower.
    pub slower: Vec<Slower>,
}

impl Comparison {
    /// Holds `new` against `old`. A kernel is the same if it was asked for by the same name.
    pub fn new(old: &Report, new: &Report) -> Self {
        let mut comparison = Self {
            slower: slower::slower(old, new),
            ..Self::default()
        };
        for kernel in &new.kernels {
            let before = same_kernel(old, kernel);
            for scenario in &kernel.scenarios {
                let before = before.and_then(|before| before.scenario(&scenario.id));
                comparison.sort_in(kernel, before, scenario);
            }
        }
        for kernel in &old.kernels {
            let now = same_kernel(new, kernel);
            let gone = |s: &&ScenarioReport| now.is_none_or(|now| now.scenario(&s.id).is_none());
            for scenario in kernel.scenarios.iter().filter(gone) {
                comparison.gone.push(change(kernel, Some(scenario), None));
            }
        }
        comparison
    }

    /// 1 when something regressed; 3 when something can no longer be judged; else 0.
    pub fn exit_code(&self) -> u8 {
        match (self.regressed.is_empty(), self.lost.is_empty()) {
            (false, _) => 1,
            (true, false) => 3,
            (true, true) => 0,
        }
    }

    fn sort_in(
        &mut self,
        kernel: &KernelReport,
        before: Option<&ScenarioReport>,
        now: &ScenarioReport,
    ) {
        use ScenarioVerdict::{NotOk, Ok, Unknown};
        let list = match (before.map(|before| before.verdict), now.verdict) {
            (None | Some(Ok | Unknown), NotOk) => &mut self.regressed,
            (None, Ok | Unknown) => &mut self.new,
            (Some(NotOk), Ok) => &mut self.fixed,
            (Some(Ok | NotOk), Unknown) => &mut self.lost,
            (Some(Ok), Ok) | (Some(NotOk), NotOk) | (Some(Unknown), Ok | Unknown) => return,
        };
        list.push(change(kernel, before, Some(now)));
    }
}

fn same_kernel<'a>(report: &'a Report, kernel: &KernelReport) -> Option<&'a KernelReport> {
    report
        .kernels
        .iter()
        .find(|other| other.requested == kernel.requested)
}

fn change(
    kernel: &KernelReport,
    before: Option<&ScenarioReport>,
    now: Option<&ScenarioReport>,
) -> Change {
    let named = before.or(now);
    Change {
        kernel: kernel.requested.clone(),
        scenario: named
            .map(|scenario| scenario.id.clone())
            .unwrap_or_default(),
        before: before.map(|scenario| scenario.outcome),
        now: now.map(|scenario| scenario.outcome),
        error: now.and_then(|scenario| scenario.error.clone()),
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |outcome: Option<Outcome>| outcome.map_or("absent", outcome_name);
        let (before, now) = (name(self.before), name(self.now));
        write!(f, "{} on {}: {before} -> {now}", self.scenario, self.kernel)?;
        match self.error.as_deref().and_then(|error| error.lines().next()) {
            Some(error) => write!(f, " ({error})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        section(f, "regressed", &self.regressed)?;
        section(f, "fixed", &self.fixed)?;
        section(f, "no longer judged", &self.lost)?;
        section(f, "new", &self.new)?;
        section(f, "gone", &self.gone)?;
        section(f, "slower", &self.slower)?;
        if *self == Self::default() {
            writeln!(f, "no change")?;
        }
        Ok(())
    }
}

fn section(f: &mut fmt::Formatter<'_>, title: &str, lines: &[impl fmt::Display]) -> fmt::Result {
    if !lines.is_empty() {
        writeln!(f, "{title}:")?;
    }
    lines.iter().try_for_each(|line| writeln!(f, "  {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing;
    use Outcome::{Failed, Passed, Skipped, TimedOut};

    fn report(scenarios: &[(&str, Outcome)]) -> Report {
        let scenarios = scenarios
            .iter()
            .map(|(id, outcome)| testing::scenario(id, "fexit", "5.5", "6.1.0", *outcome))
            .collect();
        Report::new(vec![testing::kernel("6.1", scenarios)])
    }

    fn ids(changes: &[Change]) -> Vec<&str> {
        changes
            .iter()
            .map(|change| change.scenario.as_str())
            .collect()
    }

    #[test]
    fn each_pair_is_sorted_into_its_list() {
        let old = report(&[
            ("same", Passed),
            ("broken", Passed),
            ("mended", Failed),
            ("still", Failed),
            ("skipped", Passed),
            ("removed", Passed),
            ("was_unknown", Skipped),
        ]);
        let new = report(&[
            ("same", Passed),
            ("broken", TimedOut),
            ("mended", Passed),
            ("still", Failed),
            ("skipped", Skipped),
            ("added", Passed),
            ("added_broken", Failed),
            ("was_unknown", Passed),
        ]);
        let comparison = Comparison::new(&old, &new);
        assert_eq!(ids(&comparison.regressed), ["broken", "added_broken"]);
        assert_eq!(ids(&comparison.fixed), ["mended"]);
        assert_eq!(ids(&comparison.lost), ["skipped"]);
        assert_eq!(ids(&comparison.new), ["added"]);
        assert_eq!(ids(&comparison.gone), ["removed"]);
        assert_eq!(comparison.exit_code(), 1);
        let text = comparison.to_string();
        assert!(
            text.contains("  broken on 6.1: passed -> timed-out (why <it> did)"),
            "{text}"
        );
        assert!(
            text.contains("  added_broken on 6.1: absent -> failed"),
            "{text}"
        );
    }

    #[test]
    fn the_same_report_is_no_change() {
        let report = report(&[("a", Passed), ("b", Failed)]);
        let comparison = Comparison::new(&report, &report);
        assert_eq!(
            (comparison.to_string().as_str(), comparison.exit_code()),
            ("no change\n", 0)
        );
    }

    #[test]
    fn what_can_no_longer_be_judged_is_not_taken_for_ok() {
        let comparison = Comparison::new(&report(&[("a", Passed)]), &report(&[("a", Skipped)]));
        assert_eq!(comparison.exit_code(), 3);
    }

    #[test]
    fn a_kernel_that_is_gone_takes_its_scenarios_along() {
        let mut new = report(&[("a", Passed)]);
        new.kernels[0].requested = "6.12".into();
        let comparison = Comparison::new(&report(&[("a", Passed)]), &new);
        assert_eq!(
            (ids(&comparison.gone), ids(&comparison.new)),
            (vec!["a"], vec!["a"])
        );
        assert_eq!(comparison.exit_code(), 0);
    }
}
