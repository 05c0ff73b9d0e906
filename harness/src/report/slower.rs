//! Which scenarios got slower beyond noise.
//!
//! Two reports rarely come from equally busy machines, so no fixed factor separates slower from noisy. The
//! scenarios of one kernel, each held against itself, show both how much faster one machine was (the median of the
//! ratios) and how much a ratio strays by chance (their median absolute deviation). What strays further is slower.

use super::{KernelReport, ScenarioVerdict, compare::Slower};

/// Fewer scenarios than this say nothing about noise.
const ENOUGH: usize = 5;

/// How many deviations from the median are beyond chance.
const DEVIATIONS: f64 = 4.0;

/// A scenario is never called slower for less than this factor.
const FACTOR: f64 = 1.5;

/// Nor for less than this: timers and the scheduler alone take as much.
const MICROSECONDS: u64 = 20_000;

/// Scales the median absolute deviation to a standard deviation of normally distributed noise.
const TO_SIGMA: f64 = 1.4826;

/// The scenarios of `now` that are ok in both and slower than `before`.
pub(super) fn slower(before: &KernelReport, now: &KernelReport) -> Vec<Slower> {
    let pairs: Vec<_> = now
        .scenarios
        .iter()
        .filter(|scenario| scenario.verdict == ScenarioVerdict::Ok)
        .filter_map(|scenario| {
            let old = before.scenario(&scenario.id)?;
            let both = old.duration_us.zip(scenario.duration_us)?;
            (old.verdict == ScenarioVerdict::Ok && both.0 > 0).then_some((&scenario.id, both))
        })
        .collect();
    if pairs.len() < ENOUGH {
        return Vec::new();
    }
    let ratio = |(before, now): (u64, u64)| (now as f64 / before as f64).ln();
    let ratios: Vec<f64> = pairs.iter().map(|(_, both)| ratio(*both)).collect();
    let centre = median(ratios.clone());
    let noise = TO_SIGMA * median(ratios.iter().map(|ratio| (ratio - centre).abs()).collect());
    let limit = centre + FACTOR.ln().max(DEVIATIONS * noise);
    pairs
        .into_iter()
        .filter(|(_, both)| ratio(*both) > limit && both.1 > both.0 + MICROSECONDS)
        .map(|(id, (before_us, now_us))| Slower {
            kernel: now.requested.clone(),
            scenario: id.clone(),
            before_us,
            now_us,
        })
        .collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing;
    use guest::event::Outcome;

    fn kernel(durations_ms: &[u64]) -> KernelReport {
        let scenarios = durations_ms.iter().enumerate().map(|(i, ms)| {
            let id = format!("s{i}");
            let mut scenario = testing::scenario(&id, "fexit", "5.5", "6.1.0", Outcome::Passed);
            scenario.duration_us = Some(ms * 1000);
            scenario
        });
        testing::kernel("6.1", scenarios.collect())
    }

    fn names(before: &[u64], now: &[u64]) -> Vec<String> {
        slower(&kernel(before), &kernel(now))
            .into_iter()
            .map(|slower| slower.scenario)
            .collect()
    }

    const BEFORE: [u64; 6] = [100, 120, 80, 200, 150, 90];

    #[test]
    fn one_that_strays_is_slower() {
        assert_eq!(names(&BEFORE, &[104, 115, 83, 900, 148, 95]), ["s3"]);
    }

    #[test]
    fn a_slower_machine_is_not_a_slower_scenario() {
        assert!(names(&BEFORE, &[300, 370, 235, 610, 440, 280]).is_empty());
        assert_eq!(names(&BEFORE, &[300, 370, 235, 610, 2400, 280]), ["s4"]);
    }

    #[test]
    fn noise_hides_what_it_could_have_caused() {
        assert!(names(&BEFORE, &[250, 60, 200, 420, 75, 180]).is_empty());
    }

    #[test]
    fn too_few_or_too_small_to_tell() {
        assert!(names(&[100, 100], &[100, 900]).is_empty());
        assert!(names(&[1, 1, 1, 1, 1, 1], &[1, 1, 1, 1, 1, 9]).is_empty());
    }

    #[test]
    fn what_failed_is_not_measured() {
        let (before, mut now) = (kernel(&BEFORE), kernel(&[104, 115, 83, 900, 148, 95]));
        now.scenarios[3].verdict = ScenarioVerdict::NotOk;
        assert!(slower(&before, &now).is_empty());
    }
}
