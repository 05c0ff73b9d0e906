//! Several reports as one: every kernel, every scenario and every program that any of them has.
//!
//! Of two results of one scenario or program the worse counts: not-ok before ok. One that is unknown says nothing, so it
//! counts only if no report has another. What does not count is listed in [`KernelReport::other_results`].

use super::{KernelReport, KernelVerdict, OtherResult, ProgramReport, Report, ScenarioVerdict};

/// Merges reports in the order given.
pub fn merge(reports: impl IntoIterator<Item = Report>) -> Report {
    let mut kernels: Vec<KernelReport> = Vec::new();
    let mut objects = Vec::new();
    for report in reports {
        for object in report.objects {
            if !objects.contains(&object) {
                objects.push(object);
            }
        }
        for kernel in report.kernels {
            match kernels.iter_mut().find(|k| k.requested == kernel.requested) {
                Some(known) => add(known, kernel),
                None => kernels.push(kernel),
            }
        }
    }
    let mut merged = Report::new(kernels);
    merged.objects = objects;
    merged
}

/// Adds another report's results of the same kernel.
fn add(known: &mut KernelReport, mut other: KernelReport) {
    // What is said of the kernel as a whole (its error, its console) comes from the report that counts.
    if outweighs(&other, known) {
        std::mem::swap(known, &mut other);
        // Results stay in the order in which they were first seen.
        std::mem::swap(&mut known.scenarios, &mut other.scenarios);
        std::mem::swap(&mut known.programs, &mut other.programs);
    }
    known.attempts += other.attempts;
    if known.release != other.release {
        let name = |release: &Option<String>| release.clone().unwrap_or_else(|| "none".to_owned());
        known.warnings.push(format!(
            "merged from reports of different releases: {} and {}",
            name(&known.release),
            name(&other.release)
        ));
    }
    for warning in other.warnings {
        if !known.warnings.contains(&warning) {
            known.warnings.push(warning);
        }
    }
    if other.error != known.error {
        known.other_results.push(OtherResult {
            id: None,
            outcome: other.verdict.to_string(),
            verdict: match other.verdict {
                KernelVerdict::Ok => ScenarioVerdict::Ok,
                KernelVerdict::NotOk => ScenarioVerdict::NotOk,
                KernelVerdict::Infra => ScenarioVerdict::Unknown,
            },
            error: other.error,
        });
    }
    known.other_results.append(&mut other.other_results);
    for scenario in other.scenarios {
        let other = keep_worse(
            &mut known.scenarios,
            scenario,
            |s| s.id.clone(),
            |s| s.verdict,
        );
        let other = other.as_ref().map(OtherResult::of_scenario);
        known.other_results.extend(other);
    }
    for program in other.programs {
        let other = keep_worse(&mut known.programs, program, ProgramReport::id, |p| {
            p.verdict
        });
        let other = other.as_ref().map(OtherResult::of_program);
        known.other_results.extend(other);
    }
}

/// Whether of two reports of one kernel the verdict of `new` counts: the worse one, but a run that was not finished says
/// nothing if the other report has all that this one did not reach.
fn outweighs(new: &KernelReport, known: &KernelReport) -> bool {
    match (new.verdict, known.verdict) {
        (KernelVerdict::Infra, KernelVerdict::Ok) => !has_the_rest_of(known, new),
        (KernelVerdict::Ok, KernelVerdict::Infra) => has_the_rest_of(new, known),
        (new, known) => new > known,
    }
}

fn has_the_rest_of(finished: &KernelReport, unfinished: &KernelReport) -> bool {
    let unknown = |verdict| verdict == ScenarioVerdict::Unknown;
    let mut scenarios = unfinished.scenarios.iter().filter(|s| unknown(s.verdict));
    let mut programs = unfinished.programs.iter().filter(|p| unknown(p.verdict));
    scenarios.all(|scenario| finished.scenario(&scenario.id).is_some())
        && programs.all(|program| finished.program(&program.id()).is_some())
}

/// Adds a result, or puts it in the place of a better one with the same id. Returns the one that does not count.
fn keep_worse<T>(
    results: &mut Vec<T>,
    mut result: T,
    id: impl Fn(&T) -> String,
    verdict: impl Fn(&T) -> ScenarioVerdict,
) -> Option<T> {
    let Some(known) = results.iter_mut().find(|known| id(known) == id(&result)) else {
        results.push(result);
        return None;
    };
    if badness(verdict(&result)) > badness(verdict(known)) {
        std::mem::swap(known, &mut result);
    }
    Some(result)
}

fn badness(verdict: ScenarioVerdict) -> u8 {
    match verdict {
        ScenarioVerdict::Unknown => 0,
        ScenarioVerdict::Ok => 1,
        ScenarioVerdict::NotOk => 2,
    }
}

#[cfg(test)]
mod tests {
    use protocol::event::Outcome::{self, Failed, Passed, Skipped};

    use super::*;
    use crate::report::testing;

    fn report(scenarios: &[(&str, Outcome)]) -> Report {
        let scenarios = scenarios
            .iter()
            .map(|(id, outcome)| testing::scenario(id, "fexit", "5.5", "6.1.0", *outcome))
            .collect();
        Report::new(vec![testing::kernel("6.1", scenarios)])
    }

    fn outcomes(report: &Report) -> Vec<(&str, Outcome)> {
        let scenarios = report.kernels[0].scenarios.iter();
        scenarios.map(|s| (s.id.as_str(), s.outcome)).collect()
    }

    #[test]
    fn merge_keeps_the_scenarios_of_all_reports_of_a_kernel() {
        let merged = merge([report(&[("a", Failed)]), report(&[("b", Passed)])]);
        assert_eq!(merged.kernels.len(), 1);
        assert_eq!(outcomes(&merged), [("a", Failed), ("b", Passed)]);
        assert_eq!(merged.verdict, KernelVerdict::NotOk);
        assert_eq!(merged.kernels[0].other_results, []);
    }

    #[test]
    fn merge_keeps_the_worse_result_and_lists_the_other() {
        for (worse, better) in [(Failed, Passed), (Failed, Skipped), (Passed, Skipped)] {
            for pair in [[worse, better], [better, worse]] {
                let merged = merge(pair.map(|outcome| report(&[("a", outcome), ("b", Passed)])));
                assert_eq!(outcomes(&merged), [("a", worse), ("b", Passed)], "{pair:?}");
                let worst = report(&[("a", worse), ("b", Passed)]).verdict;
                assert_eq!(merged.verdict, worst, "{pair:?}");
                let others: Vec<_> = merged.kernels[0]
                    .other_results
                    .iter()
                    .map(|other| (other.id.as_deref(), other.outcome.as_str()))
                    .collect();
                let better = super::super::verdict::outcome_name(better);
                assert_eq!(
                    others,
                    [(Some("a"), better), (Some("b"), "passed")],
                    "{pair:?}"
                );
            }
        }
    }

    #[test]
    fn merge_prefers_a_finished_run_to_an_unfinished_one() {
        let good = report(&[("a", Passed), ("b", Skipped)]);
        let broken = |scenarios: &[(&str, Outcome)]| {
            let mut broken = report(scenarios);
            broken.kernels[0].verdict = KernelVerdict::Infra;
            broken.kernels[0].error = Some("QEMU died".to_owned());
            broken.conclude();
            broken
        };
        let merged = |one: &Report, other: &Report| {
            [[one, other], [other, one]].map(|pair| merge(pair.map(Clone::clone)))
        };
        for unreached in [
            &[][..],
            &[("a", Skipped), ("b", Skipped)],
            &[("a", Passed), ("b", Skipped)],
            &[("a", Passed), ("only in this one", Passed)],
        ] {
            for merged in merged(&good, &broken(unreached)) {
                let kernel = &merged.kernels[0];
                assert_eq!(merged.verdict, KernelVerdict::Ok, "{unreached:?}");
                assert_eq!(kernel.error, None);
                let other = &kernel.other_results[0];
                assert_eq!((&other.id, other.outcome.as_str()), (&None, "infra"));
                assert_eq!(other.error.as_deref(), Some("QEMU died"));
            }
        }
        for merged in merged(&good, &broken(&[("only in this one", Skipped)])) {
            let kernel = &merged.kernels[0];
            assert_eq!(merged.verdict, KernelVerdict::Infra);
            assert_eq!(kernel.error.as_deref(), Some("QEMU died"));
            assert_eq!(kernel.scenarios.len(), 3);
            assert_eq!(kernel.other_results[0].outcome, "ok");
        }
        let bad = report(&[("a", Failed)]);
        for merged in merged(&bad, &broken(&[("a", Skipped)])) {
            assert_eq!(merged.verdict, KernelVerdict::NotOk);
            assert_eq!(outcomes(&merged), [("a", Failed)]);
        }
    }
}
