//! Runs of the same kernel one after the other: `--retries`, `--rerun-failed` and `--repeat`.

use super::{
    merge,
    model::{KernelReport, Repetition, ResultSummary, ScenarioReport},
    program::ProgramReport,
    verdict::{KernelVerdict, ScenarioVerdict},
};

/// The ids of the scenarios and programs that must run again: those that are not ok or not known, or all of a kernel that is
/// not ok itself. None if the kernel is ok.
pub fn to_run_again(kernel: &KernelReport) -> Vec<String> {
    if kernel.verdict == KernelVerdict::Ok {
        return Vec::new();
    }
    let ids = |open: fn(&ResultSummary) -> bool| {
        let results = kernel.results().filter(open);
        results.filter_map(|result| result.id).collect::<Vec<_>>()
    };
    let failed = ids(|result| result.verdict != ScenarioVerdict::Ok);
    match failed.as_slice() {
        [] => ids(|_| true),
        _ => failed,
    }
}

/// Puts the results of a later run of `again` in the place of the earlier ones. What failed before is in
/// [`KernelReport::earlier_tries`], and is flaky if it passes now.
pub fn replace(mut earlier: KernelReport, mut later: KernelReport) -> KernelReport {
    // Nothing was learned: the earlier results stay.
    if later.verdict == KernelVerdict::Infra && earlier.verdict == KernelVerdict::NotOk {
        let why = later.error.unwrap_or_default();
        earlier
            .warnings
            .push(format!("the next try did not finish: {why}"));
        earlier.attempts += later.attempts;
        return earlier;
    }
    let mut tries = std::mem::take(&mut earlier.earlier_tries);
    if earlier.verdict == KernelVerdict::NotOk && earlier.error.is_some() {
        tries.push(ResultSummary::from(&earlier));
    }
    let scenarios = std::mem::take(&mut later.scenarios);
    later.scenarios = replaced(earlier.scenarios, scenarios, &mut tries);
    let programs = std::mem::take(&mut later.programs);
    later.programs = replaced(earlier.programs, programs, &mut tries);
    later.earlier_tries = tries;
    later.attempts += earlier.attempts;
    later.side_by_side |= earlier.side_by_side;
    later.restarts.splice(0..0, earlier.restarts);
    let new = std::mem::replace(&mut later.warnings, earlier.warnings);
    for warning in new {
        if !later.warnings.contains(&warning) {
            later.warnings.push(warning);
        }
    }
    let total = earlier
        .phases_ms
        .total
        .into_iter()
        .chain(later.phases_ms.total);
    later.phases_ms.total = total.reduce(|sum, ms| sum + ms);
    if later.count(ScenarioVerdict::NotOk) > 0 {
        later.verdict = KernelVerdict::NotOk;
    } else if later.error.is_none() && later.count(ScenarioVerdict::Ok) > 0 {
        later.verdict = KernelVerdict::Ok;
        later.console_tail.clear();
    }
    later
}

/// A result that can be marked as flaky.
trait Tried {
    fn flaky(&mut self) -> &mut bool;
}

impl Tried for ScenarioReport {
    fn flaky(&mut self) -> &mut bool {
        &mut self.flaky
    }
}

impl Tried for ProgramReport {
    fn flaky(&mut self) -> &mut bool {
        &mut self.flaky
    }
}

fn replaced<T: Tried>(earlier: Vec<T>, mut later: Vec<T>, tries: &mut Vec<ResultSummary>) -> Vec<T>
where
    for<'a> ResultSummary: From<&'a T>,
{
    let mut all = Vec::with_capacity(earlier.len());
    for mut result in earlier {
        let old = ResultSummary::from(&result);
        let same = |later: &T| ResultSummary::from(later).id == old.id;
        if let Some(at) = later.iter().position(same) {
            let mut again = later.remove(at);
            let new = ResultSummary::from(&again).verdict;
            if new != ScenarioVerdict::Unknown || old.verdict == ScenarioVerdict::Unknown {
                if old.verdict == ScenarioVerdict::NotOk {
                    tries.push(old.clone());
                }
                let failed = tries.iter().any(|failed| failed.id == old.id);
                *again.flaky() = new == ScenarioVerdict::Ok && failed;
                result = again;
            }
        }
        all.push(result);
    }
    all.extend(later);
    all
}

/// Adds the next repetition to those before.
pub fn repeat(before: Option<KernelReport>, next: KernelReport) -> KernelReport {
    let repetition = Repetition {
        verdict: next.verdict,
        not_ok: next.not_ok().filter_map(|result| result.id).collect(),
    };
    let mut all = match before {
        None => next,
        Some(mut before) => {
            let total = before
                .phases_ms
                .total
                .into_iter()
                .chain(next.phases_ms.total);
            let total = total.reduce(|sum, ms| sum + ms);
            merge::add(&mut before, next);
            // The repetitions have all results.
            before.other_results.clear();
            before.phases_ms.total = total;
            before
        }
    };
    all.repetitions.push(repetition);
    all
}

impl KernelReport {
    /// What passed after it had failed.
    pub fn flaky(&self) -> impl Iterator<Item = ResultSummary> {
        let scenarios = self.scenarios.iter().filter(|scenario| scenario.flaky);
        let programs = self.programs.iter().filter(|program| program.flaky);
        scenarios
            .map(ResultSummary::from)
            .chain(programs.map(ResultSummary::from))
    }

    /// The earlier tries of a scenario or program, which failed.
    pub fn tries_of<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a ResultSummary> {
        let tries = self.earlier_tries.iter();
        tries.filter(move |earlier| earlier.id.as_deref() == Some(id))
    }

    /// In how many of the repetitions it was not ok; `None` if there was one.
    pub fn repeated(&self, id: &str) -> Option<(usize, usize)> {
        let is_not_ok =
            |repetition: &&Repetition| repetition.not_ok.iter().any(|other| other == id);
        let of = self.repetitions.len();
        (of > 1).then(|| (self.repetitions.iter().filter(is_not_ok).count(), of))
    }
}

#[cfg(test)]
mod tests {
    use protocol::event::Outcome::{self, Failed, Passed, Skipped};

    use super::*;
    use crate::report::testing::{broken_kernel, report};

    fn kernel(scenarios: &[(&str, Outcome)]) -> KernelReport {
        report(scenarios).kernels.remove(0)
    }

    /// Id, outcome and whether it is flaky.
    fn results(kernel: &KernelReport) -> Vec<(&str, Outcome, bool)> {
        let scenarios = kernel.scenarios.iter();
        scenarios
            .map(|s| (s.id.as_str(), s.outcome, s.flaky))
            .collect()
    }

    #[test]
    fn what_is_not_ok_or_not_known_runs_again() {
        let ids = |scenarios: &[_]| to_run_again(&kernel(scenarios));
        assert_eq!(
            ids(&[("a", Passed), ("b", Failed), ("c", Skipped)]),
            ["b", "c"]
        );
        assert!(ids(&[("a", Passed), ("c", Skipped)]).is_empty());
        let mut crashed = kernel(&[("a", Passed), ("b", Passed)]);
        crashed.verdict = KernelVerdict::NotOk;
        assert_eq!(to_run_again(&crashed), ["a", "b"]);
    }

    #[test]
    fn passing_after_a_failure_is_flaky_and_keeps_the_failure() {
        let first = kernel(&[("a", Failed), ("b", Passed), ("c", Failed)]);
        let second = replace(first, kernel(&[("a", Passed), ("c", Failed)]));
        assert_eq!(second.verdict, KernelVerdict::NotOk);
        let third = replace(second, kernel(&[("c", Passed)]));
        let flaky = [
            ("a", Passed, true),
            ("b", Passed, false),
            ("c", Passed, true),
        ];
        assert_eq!(results(&third), flaky);
        assert_eq!(third.verdict, KernelVerdict::Ok);
        let tries = |id| {
            third
                .tries_of(id)
                .map(|t| t.outcome.as_str())
                .collect::<Vec<_>>()
        };
        assert_eq!(tries("a"), ["failed"]);
        assert_eq!(tries("b"), [""; 0]);
        assert_eq!(tries("c"), ["failed", "failed"]);
    }

    #[test]
    fn failing_again_is_not_ok_and_what_was_not_reached_is_not_flaky() {
        let first = kernel(&[("a", Failed), ("b", Skipped)]);
        let again = replace(first, kernel(&[("a", Failed), ("b", Passed)]));
        assert_eq!(
            results(&again),
            [("a", Failed, false), ("b", Passed, false)]
        );
        assert_eq!(again.verdict, KernelVerdict::NotOk);
    }

    #[test]
    fn try_that_taught_nothing_changes_no_result() {
        let mut later = broken_kernel("6.1", "QEMU failed");
        later.scenarios = kernel(&[("a", Skipped)]).scenarios;
        let again = replace(kernel(&[("a", Failed)]), later);
        assert_eq!(results(&again), [("a", Failed, false)]);
        assert!(
            again.warnings[0].contains("QEMU failed"),
            "{:?}",
            again.warnings
        );

        let earlier = KernelReport {
            scenarios: kernel(&[("a", Skipped)]).scenarios,
            ..broken_kernel("6.1", "no download")
        };
        let again = replace(earlier, kernel(&[("a", Passed)]));
        assert_eq!(results(&again), [("a", Passed, false)]);
        assert_eq!((again.verdict, again.error), (KernelVerdict::Ok, None));
    }

    #[test]
    fn worst_of_the_repetitions_counts_and_all_are_listed() {
        let runs = [Passed, Failed, Passed].map(|outcome| kernel(&[("a", outcome), ("b", Passed)]));
        let all = runs
            .into_iter()
            .fold(None, |before, next| Some(repeat(before, next)))
            .unwrap();
        assert_eq!(results(&all), [("a", Failed, false), ("b", Passed, false)]);
        assert_eq!(all.verdict, KernelVerdict::NotOk);
        assert_eq!(
            (all.repeated("a"), all.repeated("b")),
            (Some((1, 3)), Some((0, 3)))
        );
        assert_eq!(all.other_results, []);
    }
}
