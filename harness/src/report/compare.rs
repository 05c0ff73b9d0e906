//! What changed between two reports.

use std::fmt;

use super::{
    KernelReport, KernelVerdict, ProgramReport, Report, ScenarioReport, ScenarioVerdict,
    instructions::{MoreInstructions, more_instructions},
    slowdown::{self, Slowdown},
    verdict::outcome_name,
};

/// A scenario on a kernel, or a kernel as a whole, whose verdict is another than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The kernel, as it was asked for.
    pub kernel: String,
    /// The scenario's id; `None` for the kernel as a whole.
    pub scenario: Option<String>,
    /// What happened before, a scenario's outcome or a kernel's verdict; `None` when the old report does not have it.
    pub before: Option<String>,
    /// What happened now; `None` when the new report does not have it.
    pub now: Option<String>,
    /// Why, in the new report's words.
    pub error: Option<String>,
}

/// All that changed. What is compared is in one of the first seven lists at most.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// Not-ok now, and not known to be so before.
    pub regressed: Vec<Change>,
    /// Not-ok before, ok now.
    pub fixed: Vec<Change>,
    /// Judged before, not now: skipped, or never reached. Also a kernel that is new, and could not be judged.
    pub lost: Vec<Change>,
    /// Kernels that could be judged neither before nor now.
    pub unjudged: Vec<Change>,
    /// Not in the old report.
    pub new: Vec<Change>,
    /// Scenarios and programs that the new report does not have, of kernels that it has.
    pub gone: Vec<Change>,
    /// Kernels that the new report does not have: they were not asked for.
    pub not_asked: Vec<Change>,
    /// Ok in both, yet slower.
    pub slower: Vec<Slowdown>,
    /// Figures that grew, where time was counted in instructions.
    pub more_instructions: Vec<MoreInstructions>,
}

/// A scenario, or a kernel as a whole, in one of the two reports.
struct Side {
    verdict: ScenarioVerdict,
    name: String,
    error: Option<String>,
}

impl Comparison {
    /// Holds `new` against `old`. A kernel is the same if it was asked for by the same name.
    pub fn new(old: &Report, new: &Report) -> Self {
        let mut comparison = Self {
            slower: slowdown::slowdowns(old, new),
            more_instructions: more_instructions(old, new),
            ..Self::default()
        };
        for kernel in &new.kernels {
            let before = same_kernel(old, kernel);
            comparison.sort_in(kernel, None, before.map(whole), whole(kernel));
            for scenario in &kernel.scenarios {
                let before = before.and_then(|before| before.scenario(&scenario.id));
                let id = Some(scenario.id.as_str());
                comparison.sort_in(kernel, id, before.map(part), part(scenario));
            }
            for program in &kernel.programs {
                let id = program.id();
                let before = before.and_then(|before| before.program(&id));
                comparison.sort_in(
                    kernel,
                    Some(&id),
                    before.map(program_side),
                    program_side(program),
                );
            }
        }
        for kernel in &old.kernels {
            let Some(now) = same_kernel(new, kernel) else {
                let change = change(kernel, None, Some(whole(kernel)), None);
                comparison.not_asked.push(change);
                continue;
            };
            let gone = |s: &&ScenarioReport| now.scenario(&s.id).is_none();
            for scenario in kernel.scenarios.iter().filter(gone) {
                let id = Some(scenario.id.as_str());
                let change = change(kernel, id, Some(part(scenario)), None);
                comparison.gone.push(change);
            }
            for program in &kernel.programs {
                let id = program.id();
                if now.program(&id).is_none() {
                    let change = change(kernel, Some(&id), Some(program_side(program)), None);
                    comparison.gone.push(change);
                }
            }
        }
        comparison
    }

    /// 1 when something regressed; 3 when something can no longer be judged or is gone; else 0.
    pub fn exit_code(&self) -> u8 {
        if !self.regressed.is_empty() {
            1
        } else if !self.lost.is_empty() || !self.gone.is_empty() {
            3
        } else {
            0
        }
    }

    fn sort_in(
        &mut self,
        kernel: &KernelReport,
        scenario: Option<&str>,
        before: Option<Side>,
        now: Side,
    ) {
        use ScenarioVerdict::{NotOk, Ok, Unknown};
        let is_kernel = scenario.is_none();
        let list = match (before.as_ref().map(|before| before.verdict), now.verdict) {
            (None | Some(Ok | Unknown), NotOk) => &mut self.regressed,
            (Some(NotOk), Ok) => &mut self.fixed,
            (Some(Ok | NotOk), Unknown) => &mut self.lost,
            (None, Unknown) if is_kernel => &mut self.lost,
            (Some(Unknown), Unknown) if is_kernel => &mut self.unjudged,
            // Its scenarios say that it is new.
            (None, Ok) if is_kernel => return,
            (None, Ok | Unknown) => &mut self.new,
            (Some(Ok), Ok) | (Some(NotOk), NotOk) | (Some(Unknown), Ok | Unknown) => return,
        };
        list.push(change(kernel, scenario, before, Some(now)));
    }
}

/// What is wrong with a kernel as a whole, not-ok scenarios apart: it complained and nobody answers for it, it broke
/// off, or nothing was learned.
fn whole(kernel: &KernelReport) -> Side {
    Side {
        verdict: match (kernel.verdict, &kernel.error) {
            (KernelVerdict::Infra, _) => ScenarioVerdict::Unknown,
            (KernelVerdict::NotOk, Some(_)) => ScenarioVerdict::NotOk,
            (KernelVerdict::NotOk, None) | (KernelVerdict::Ok, _) => ScenarioVerdict::Ok,
        },
        name: kernel.verdict.to_string(),
        error: kernel.error.clone(),
    }
}

fn part(scenario: &ScenarioReport) -> Side {
    Side {
        verdict: scenario.verdict,
        name: outcome_name(scenario.outcome).to_owned(),
        error: scenario.error.clone(),
    }
}

fn program_side(program: &ProgramReport) -> Side {
    Side {
        verdict: program.verdict,
        name: program.result.outcome.name().to_owned(),
        error: program.why().map(str::to_owned),
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
    scenario: Option<&str>,
    before: Option<Side>,
    now: Option<Side>,
) -> Change {
    Change {
        kernel: kernel.requested.clone(),
        scenario: scenario.map(str::to_owned),
        before: before.map(|before| before.name),
        error: now.as_ref().and_then(|now| now.error.clone()),
        now: now.map(|now| now.name),
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "absent".to_owned());
        match &self.scenario {
            Some(scenario) => write!(f, "{scenario} on {}", self.kernel)?,
            None => write!(f, "kernel {}", self.kernel)?,
        }
        write!(f, ": {} -> {}", name(&self.before), name(&self.now))?;
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
        section(f, "judged neither before nor now", &self.unjudged)?;
        section(f, "new", &self.new)?;
        section(f, "gone", &self.gone)?;
        section(f, "not asked for this time", &self.not_asked)?;
        section(f, "slower", &self.slower)?;
        section(f, "more instructions", &self.more_instructions)?;
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
    use protocol::event::Outcome;

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
            .map(|change| change.scenario.as_deref().unwrap_or("the kernel"))
            .collect()
    }

    #[test]
    fn compare_sorts_each_pair_into_its_list() {
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
    fn comparing_a_report_with_itself_finds_no_change() {
        let report = report(&[("a", Passed), ("b", Failed)]);
        let comparison = Comparison::new(&report, &report);
        assert_eq!(
            (comparison.to_string().as_str(), comparison.exit_code()),
            ("no change\n", 0)
        );
    }

    #[test]
    fn unknown_after_ok_is_no_longer_judged() {
        let comparison = Comparison::new(&report(&[("a", Passed)]), &report(&[("a", Skipped)]));
        assert_eq!(comparison.exit_code(), 3);
    }

    #[test]
    fn kernel_missing_from_the_request_is_one_line_and_no_failure() {
        let mut new = report(&[("a", Passed), ("b", Passed)]);
        new.kernels[0].requested = "6.12".into();
        let old = report(&[("a", Passed), ("b", Failed)]);
        let comparison = Comparison::new(&old, &new);
        assert_eq!(ids(&comparison.gone), Vec::<&str>::new());
        let text = comparison.to_string();
        let line = "not asked for this time:\n  kernel 6.1: not-ok -> absent\n";
        assert!(text.ends_with(line), "{text}");
        assert_eq!(comparison.exit_code(), 0);
    }

    #[test]
    fn missing_scenario_of_a_requested_kernel_counts() {
        let old = report(&[("a", Passed), ("b", Passed)]);
        let comparison = Comparison::new(&old, &report(&[("a", Passed)]));
        assert_eq!(ids(&comparison.gone), ["b"]);
        assert_eq!(comparison.exit_code(), 3);
    }

    /// A kernel whose scenarios are all ok, with this verdict of its own.
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
            let comparison = Comparison::new(old, new);
            let text = comparison.to_string();
            assert!(text.starts_with(said), "{text} should start with {said}");
            assert_eq!(comparison.exit_code(), status, "{text}");
        }
    }

    #[test]
    fn kernel_not_ok_because_of_its_scenarios_is_not_listed_separately() {
        let new = report(&[("a", Failed)]);
        assert_eq!(new.kernels[0].verdict, KernelVerdict::NotOk);
        let comparison = Comparison::new(&report(&[("a", Passed)]), &new);
        assert_eq!(ids(&comparison.regressed), ["a"]);
    }
}
