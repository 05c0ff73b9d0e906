//! Merges reports into one: every kernel, every scenario and every program that any of them has.
//!
//! Of two results of one scenario or program the worse counts: not-ok before ok. An unknown result counts only if no
//! report has another. [`KernelReport::other_results`] lists the results that do not count.

use std::{collections::BTreeSet, mem};

use super::{
    model::{KernelReport, Repetition, Report, ResultSummary},
    verdict::{KernelVerdict, ScenarioVerdict},
};

/// Merges reports in the order given, but shards in theirs.
pub fn merge(reports: impl IntoIterator<Item = Report>) -> Report {
    let mut reports: Vec<_> = reports.into_iter().collect();
    reports.sort_by_key(|report| report.shard.as_deref().and_then(shard).map(|(k, _)| k));
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

/// The shards of a run that no report is, as `2/5`.
pub fn missing_shards(reports: &[Report]) -> Vec<String> {
    let shards = || reports.iter().filter_map(|report| report.shard.as_deref());
    let counts: BTreeSet<_> = shards().filter_map(shard).map(|(_, count)| count).collect();
    let all = counts
        .into_iter()
        .flat_map(|count| (1..=count).map(move |k| format!("{k}/{count}")));
    all.filter(|expected| !shards().any(|shard| shard == expected))
        .collect()
}

fn shard(text: &str) -> Option<(usize, usize)> {
    let (number, count) = text.split_once('/')?;
    Some((number.parse().ok()?, count.parse().ok()?))
}

/// Adds another report's results of the same kernel.
pub(super) fn add(known: &mut KernelReport, mut other: KernelReport) {
    // The fields of the kernel itself (its error, its console) come from the report that counts.
    if outweighs(&other, known) {
        mem::swap(known, &mut other);
        // Results stay in the order of the first report.
        mem::swap(&mut known.scenarios, &mut other.scenarios);
        mem::swap(&mut known.programs, &mut other.programs);
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
    if other.error != known.error {
        known.other_results.push(ResultSummary::from(&other));
    }
    for warning in other.warnings {
        if !known.warnings.contains(&warning) {
            known.warnings.push(warning);
        }
    }
    known.earlier_tries.append(&mut other.earlier_tries);
    known.repetitions = repetitions(mem::take(&mut known.repetitions), other.repetitions);
    let others = &mut known.other_results;
    others.append(&mut other.other_results);
    keep_worse(&mut known.scenarios, other.scenarios, others);
    keep_worse(&mut known.programs, other.programs, others);
}

/// The repetitions of two shards of a kernel belong together; those of other runs follow each other.
fn repetitions(known: Vec<Repetition>, other: Vec<Repetition>) -> Vec<Repetition> {
    if known.len() != other.len() {
        return known.into_iter().chain(other).collect();
    }
    let both = known.into_iter().zip(other);
    let one = |(known, other): (Repetition, Repetition)| Repetition {
        verdict: known.verdict.max(other.verdict),
        not_ok: known.not_ok.into_iter().chain(other.not_ok).collect(),
    };
    both.map(one).collect()
}

/// Whether the verdict of `new` counts: the worse one. An unfinished run does not count if the other report has all
/// that it did not reach.
fn outweighs(new: &KernelReport, known: &KernelReport) -> bool {
    match (new.verdict, known.verdict) {
        (KernelVerdict::Infra, KernelVerdict::Ok) => !completes(known, new),
        (KernelVerdict::Ok, KernelVerdict::Infra) => completes(new, known),
        (new, known) => new > known,
    }
}

fn completes(finished: &KernelReport, unfinished: &KernelReport) -> bool {
    let mut unknown = unfinished
        .results()
        .filter(|result| result.verdict == ScenarioVerdict::Unknown);
    unknown.all(|result| finished.result(result.name()).is_some())
}

/// Adds results. Of two with the same id the worse stays in `known`, the better goes to `others`.
fn keep_worse<T>(known: &mut Vec<T>, new: Vec<T>, others: &mut Vec<ResultSummary>)
where
    for<'a> ResultSummary: From<&'a T>,
{
    for mut result in new {
        let summary = ResultSummary::from(&result);
        let same = |known: &&mut T| ResultSummary::from(&**known).id == summary.id;
        let Some(known) = known.iter_mut().find(same) else {
            known.push(result);
            continue;
        };
        if badness(summary.verdict) > badness(ResultSummary::from(&*known).verdict) {
            mem::swap(known, &mut result);
        }
        others.push(ResultSummary::from(&result));
    }
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
    use crate::report::{testing::report, verdict::outcome_name};

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
                let better = outcome_name(better);
                let expected = [(Some("a"), better), (Some("b"), "passed")];
                assert_eq!(others, expected, "{pair:?}");
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
