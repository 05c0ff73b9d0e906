//! What changed between two reports.

use std::fmt;

use super::{
    instructions::{MoreInstructions, more_instructions},
    model::{KernelReport, Report, ResultSummary},
    slowdown::{self, Slowdown},
    verdict::{KernelVerdict, ScenarioVerdict},
    verifier::{self, VerifierGrowth},
};

/// A scenario or program on a kernel, or a kernel itself, whose verdict changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The requested name of the kernel.
    pub kernel: String,
    /// The result in the old report; `None` when it has none.
    pub before: Option<ResultSummary>,
    /// The result in the new report; `None` when it has none.
    pub now: Option<ResultSummary>,
}

/// All changes. A result is in one of the first seven lists at most.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// Not-ok now, and ok, unknown or absent before.
    pub regressed: Vec<Change>,
    /// Not-ok before, ok now.
    pub fixed: Vec<Change>,
    /// Judged before, not now: skipped or not reached. Also a new kernel without a verdict.
    pub lost: Vec<Change>,
    /// Kernels that were not judged, neither before nor now.
    pub unjudged: Vec<Change>,
    /// Not in the old report.
    pub new: Vec<Change>,
    /// Scenarios and programs that the new report lacks, on kernels that it has.
    pub gone: Vec<Change>,
    /// Kernels that the new report lacks: they were not requested.
    pub not_requested: Vec<Change>,
    /// Ok in both, but slower.
    pub slower: Vec<Slowdown>,
    /// Figures that grew, where time was counted in instructions.
    pub more_instructions: Vec<MoreInstructions>,
    /// Verifier figures that grew by more than was allowed.
    pub verifier_growth: Vec<VerifierGrowth>,
}

impl Comparison {
    /// Compares `new` with `old`. Kernels are matched by the names that were requested. A verifier figure that grew by
    /// more than `verifier_growth` percent is a regression; `None` allows any growth.
    pub fn new(old: &Report, new: &Report, verifier_growth: Option<f64>) -> Self {
        let growth = verifier_growth.map(|percent| verifier::growth(old, new, percent));
        let mut comparison = Self {
            slower: slowdown::slowdowns(old, new),
            more_instructions: more_instructions(old, new),
            verifier_growth: growth.unwrap_or_default(),
            ..Self::default()
        };
        for kernel in &new.kernels {
            let before = old.kernel(&kernel.requested);
            comparison.add(kernel, before.map(kernel_itself), kernel_itself(kernel));
            for now in kernel.results() {
                let before = before.and_then(|before| before.result(now.name()));
                comparison.add(kernel, before, now);
            }
        }
        for kernel in &old.kernels {
            let change = |before| Change {
                kernel: kernel.requested.clone(),
                before: Some(before),
                now: None,
            };
            match new.kernel(&kernel.requested) {
                None => comparison.not_requested.push(change(kernel_itself(kernel))),
                Some(now) => {
                    let gone = kernel.results();
                    let gone = gone.filter(|result| now.result(result.name()).is_none());
                    comparison.gone.extend(gone.map(change));
                }
            }
        }
        comparison
    }

    /// 1 when something regressed; 3 when something can no longer be judged or is gone; else 0.
    pub fn exit_code(&self) -> u8 {
        if !self.regressed.is_empty() || !self.verifier_growth.is_empty() {
            1
        } else if !self.lost.is_empty() || !self.gone.is_empty() {
            3
        } else {
            0
        }
    }

    /// Adds a result to the list of its change, if its verdict changed.
    fn add(&mut self, kernel: &KernelReport, before: Option<ResultSummary>, now: ResultSummary) {
        use ScenarioVerdict::{NotOk, Ok, Unknown};
        let is_kernel = now.id.is_none();
        let list = match (before.as_ref().map(|before| before.verdict), now.verdict) {
            (None | Some(Ok | Unknown), NotOk) => &mut self.regressed,
            (Some(NotOk), Ok) => &mut self.fixed,
            (Some(Ok | NotOk), Unknown) => &mut self.lost,
            (None, Unknown) if is_kernel => &mut self.lost,
            (Some(Unknown), Unknown) if is_kernel => &mut self.unjudged,
            // Its scenarios are listed as new.
            (None, Ok) if is_kernel => return,
            (None, Ok | Unknown) => &mut self.new,
            (Some(Ok), Ok) | (Some(NotOk), NotOk) | (Some(Unknown), Ok | Unknown) => return,
        };
        list.push(Change {
            kernel: kernel.requested.clone(),
            before,
            now: Some(now),
        });
    }
}

/// The kernel itself. It is ok if only its scenarios and programs are not: they are compared one by one.
fn kernel_itself(kernel: &KernelReport) -> ResultSummary {
    let mut kernel_itself = ResultSummary::from(kernel);
    if kernel.verdict == KernelVerdict::NotOk && kernel.error.is_none() {
        kernel_itself.verdict = ScenarioVerdict::Ok;
    }
    kernel_itself
}

impl Change {
    /// The newer of the two results.
    fn result(&self) -> Option<&ResultSummary> {
        self.now.as_ref().or(self.before.as_ref())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = |result: &Option<ResultSummary>| {
            let outcome = result.as_ref().map(|result| result.outcome.clone());
            outcome.unwrap_or_else(|| "absent".to_owned())
        };
        match self.result().and_then(|result| result.id.as_deref()) {
            Some(id) => write!(f, "{id} on {}", self.kernel)?,
            None => write!(f, "kernel {}", self.kernel)?,
        }
        write!(f, ": {} -> {}", outcome(&self.before), outcome(&self.now))?;
        let error = self.now.as_ref().and_then(|now| now.error().lines().next());
        match error {
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
        section(f, "judged neither before nor now", &self.unjudged)?;
        section(f, "new", &self.new)?;
        section(f, "gone", &self.gone)?;
        section(f, "not requested this time", &self.not_requested)?;
        section(f, "slower", &self.slower)?;
        section(f, "more instructions", &self.more_instructions)?;
        section(f, "verifier figures grew", &self.verifier_growth)?;
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
    use crate::report::testing::report;
    use protocol::event::Outcome;

    use Outcome::{Failed, Passed, Skipped, TimedOut};

    fn ids<'a>(changes: &'a [Change]) -> Vec<&'a str> {
        let name = |change: &'a Change| change.result().unwrap().name();
        changes.iter().map(name).collect()
    }

    #[test]
    fn each_change_is_in_the_list_of_its_kind() {
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
        let comparison = Comparison::new(&old, &new, None);
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
    fn comparing_a_report_with_itself_finds_no_change() {
        let report = report(&[("a", Passed), ("b", Failed)]);
        let comparison = Comparison::new(&report, &report, None);
        assert_eq!(
            (comparison.to_string().as_str(), comparison.exit_code()),
            ("no change\n", 0)
        );
    }

    #[test]
    fn unknown_after_ok_is_no_longer_judged() {
        let comparison =
            Comparison::new(&report(&[("a", Passed)]), &report(&[("a", Skipped)]), None);
        assert_eq!(comparison.exit_code(), 3);
    }

    #[test]
    fn kernel_missing_from_the_request_is_one_line_and_no_failure() {
        let mut new = report(&[("a", Passed), ("b", Passed)]);
        new.kernels[0].requested = "6.12".into();
        let old = report(&[("a", Passed), ("b", Failed)]);
        let comparison = Comparison::new(&old, &new, None);
        assert_eq!(ids(&comparison.gone), Vec::<&str>::new());
        let text = comparison.to_string();
        let line = "not requested this time:\n  kernel 6.1: not-ok -> absent\n";
        assert!(text.ends_with(line), "{text}");
        assert_eq!(comparison.exit_code(), 0);
    }

    #[test]
    fn missing_scenario_of_a_requested_kernel_counts() {
        let old = report(&[("a", Passed), ("b", Passed)]);
        let comparison = Comparison::new(&old, &report(&[("a", Passed)]), None);
        assert_eq!(ids(&comparison.gone), ["b"]);
        assert_eq!(comparison.exit_code(), 3);
    }

    /// A kernel with this verdict, whose scenarios are all ok.
    fn kernel(verdict: KernelVerdict, error: Option<&str>) -> Report {
        let mut report = report(&[("a", Passed)]);
        report.kernels[0].verdict = verdict;
        report.kernels[0].error = error.map(str::to_owned);
        report
    }

    #[test]
    fn kernel_verdict_is_compared_too() {
        let ok = kernel(KernelVerdict::Ok, None);
        let warned = kernel(KernelVerdict::NotOk, Some("the kernel warned: x"));
        let infra = kernel(KernelVerdict::Infra, Some("QEMU died"));
        let nothing = Report::new(Vec::new());
        for (old, new, status, said) in [
            (
                &ok,
                &warned,
                1,
                "regressed:\n  kernel 6.1: ok -> not-ok (the kernel warned: x)\n",
            ),
            (&infra, &warned, 1, "regressed:\n  kernel 6.1: infra -> "),
            (&nothing, &warned, 1, "regressed:\n  kernel 6.1: absent -> "),
            (&warned, &warned, 0, "no change\n"),
            (&warned, &ok, 0, "fixed:\n  kernel 6.1: not-ok -> ok\n"),
            (
                &ok,
                &infra,
                3,
                "no longer judged:\n  kernel 6.1: ok -> infra (QEMU died)\n",
            ),
            (
                &nothing,
                &infra,
                3,
                "no longer judged:\n  kernel 6.1: absent -> infra",
            ),
            (
                &infra,
                &infra,
                0,
                "judged neither before nor now:\n  kernel 6.1: infra -> infra",
            ),
            (&infra, &ok, 0, "no change\n"),
            (&nothing, &ok, 0, "new:\n  a on 6.1: absent -> passed\n"),
        ] {
            let comparison = Comparison::new(old, new, None);
            let text = comparison.to_string();
            assert!(text.starts_with(said), "{text} should start with {said}");
            assert_eq!(comparison.exit_code(), status, "{text}");
        }
    }

    #[test]
    fn kernel_not_ok_because_of_its_scenarios_is_not_listed_separately() {
        let new = report(&[("a", Failed)]);
        assert_eq!(new.kernels[0].verdict, KernelVerdict::NotOk);
        let comparison = Comparison::new(&report(&[("a", Passed)]), &new, None);
        assert_eq!(ids(&comparison.regressed), ["a"]);
    }
}
