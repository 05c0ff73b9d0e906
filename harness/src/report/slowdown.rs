//! Finds scenarios that are slower than before, beyond noise.
//!
//! Two reports rarely come from equally busy machines, and a burst of load can slow a single scenario tenfold. So the
//! figures are corrected twice. The median ratio of all scenarios of a kernel is how much slower the machine was; each
//! ratio is divided by it. The median of a scenario's ratios over all kernels is the scenario's own factor. The
//! deviation of these factors is the noise; a scenario whose factor exceeds it four times is slower.

use std::fmt;

use super::{
    model::{KernelReport, Report},
    verdict::ScenarioVerdict,
};

/// The noise cannot be computed from fewer scenarios.
const MIN_SCENARIOS: usize = 5;

/// A slower scenario exceeds the noise by this factor.
const DEVIATIONS: f64 = 4.0;

/// A slower scenario takes at least this many times as long.
const MIN_FACTOR: f64 = 1.5;

/// A slower scenario takes at least this much longer: timers and the scheduler cause smaller differences.
const MIN_MICROSECONDS: u64 = 20_000;

/// Scales the median absolute deviation to a standard deviation of normally distributed noise.
const TO_SIGMA: f64 = 1.4826;

/// A scenario that takes longer, by more than the noise between the two reports explains.
#[derive(Clone, Debug, PartialEq)]
pub struct Slowdown {
    /// The scenario's id.
    pub scenario: String,
    /// How many times as long it takes, corrected by the difference between the machines.
    pub factor: f64,
    /// The number of kernels on which it was measured.
    pub kernels: usize,
}

/// One scenario on one kernel in both reports: the logarithm of how many times as long it takes now.
struct Ratio<'a> {
    scenario: &'a str,
    ln: f64,
    /// Whether the difference is at least [`MIN_MICROSECONDS`].
    noticeable: bool,
}

/// The scenarios that are ok in both reports and slower in `now`.
pub(super) fn slowdowns(before: &Report, now: &Report) -> Vec<Slowdown> {
    let mut ratios = Vec::new();
    for kernel in &now.kernels {
        // In parallel a scenario takes longer, some more than others.
        let same = before
            .kernel(&kernel.requested)
            .filter(|old| old.side_by_side == kernel.side_by_side);
        ratios.extend(same.map(|old| of_kernel(old, kernel)).unwrap_or_default());
    }
    let scenarios: Vec<_> = ids(&ratios)
        .into_iter()
        .map(|id| of_scenario(id, &ratios))
        .collect();
    let noise = TO_SIGMA * median(scenarios.iter().map(|(ratio, _)| ratio.ln.abs()).collect());
    let limit = MIN_FACTOR.ln().max(DEVIATIONS * noise);
    scenarios
        .into_iter()
        .filter(|(ratio, _)| ratio.noticeable && ratio.ln > limit)
        .map(|(ratio, kernels)| Slowdown {
            scenario: ratio.scenario.to_owned(),
            factor: ratio.ln.exp(),
            kernels,
        })
        .collect()
}

/// The ratios of one kernel's scenarios, divided by that of the machine.
fn of_kernel<'a>(before: &KernelReport, now: &'a KernelReport) -> Vec<Ratio<'a>> {
    let ok = |verdict| verdict == ScenarioVerdict::Ok;
    let mut ratios = Vec::new();
    for scenario in now.scenarios.iter().filter(|scenario| ok(scenario.verdict)) {
        let old = before.scenario(&scenario.id).filter(|old| ok(old.verdict));
        let both = old.and_then(|old| old.duration_us.zip(scenario.duration_us));
        if let Some((old_us, new_us)) = both.filter(|(old_us, new_us)| *old_us > 0 && *new_us > 0) {
            ratios.push(Ratio {
                scenario: &scenario.id,
                ln: (new_us as f64 / old_us as f64).ln(),
                noticeable: new_us > old_us + MIN_MICROSECONDS,
            });
        }
    }
    if ratios.len() < MIN_SCENARIOS {
        return Vec::new();
    }
    let machine = median(ratios.iter().map(|ratio| ratio.ln).collect());
    ratios.iter_mut().for_each(|ratio| ratio.ln -= machine);
    ratios
}

fn ids<'a>(ratios: &[Ratio<'a>]) -> Vec<&'a str> {
    let mut ids = Vec::new();
    for ratio in ratios {
        if !ids.contains(&ratio.scenario) {
            ids.push(ratio.scenario);
        }
    }
    ids
}

/// The median ratio of a scenario, and the number of kernels on which it was measured.
fn of_scenario<'a>(id: &'a str, ratios: &[Ratio<'a>]) -> (Ratio<'a>, usize) {
    let of_it: Vec<_> = ratios.iter().filter(|ratio| ratio.scenario == id).collect();
    let ratio = Ratio {
        scenario: id,
        ln: median(of_it.iter().map(|ratio| ratio.ln).collect()),
        noticeable: of_it.iter().filter(|ratio| ratio.noticeable).count() * 2 > of_it.len(),
    };
    (ratio, of_it.len())
}

/// The median; of an even number of values the lower middle one, so that two kernels must agree. 0 of no value.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values
        .get(values.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or_default()
}

impl fmt::Display for Slowdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            scenario,
            factor,
            kernels,
        } = self;
        write!(f, "{scenario} takes {factor:.1} times as long")?;
        match kernels {
            1 => f.write_str(" (measured on one kernel only: a busy machine can cause it)"),
            _ => write!(f, " (the median of {kernels} kernels)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing;
    use protocol::event::Outcome;

    fn report(kernels: &[&[u64]]) -> Report {
        let kernels = kernels.iter().enumerate().map(|(number, durations_ms)| {
            let scenarios = durations_ms.iter().enumerate().map(|(i, ms)| {
                let id = format!("s{i}");
                let mut scenario = testing::scenario(&id, "fexit", "5.5", "6.1.0", Outcome::Passed);
                scenario.duration_us = Some(ms * 1000);
                scenario
            });
            testing::kernel(&format!("6.{number}"), scenarios.collect())
        });
        Report::new(kernels.collect())
    }

    fn names(before: &[&[u64]], now: &[&[u64]]) -> Vec<String> {
        let slower = slowdowns(&report(before), &report(now));
        slower.into_iter().map(|slower| slower.scenario).collect()
    }

    const BEFORE: &[u64] = &[100, 120, 80, 200, 150, 90];

    #[test]
    fn one_slower_scenario_is_reported() {
        assert_eq!(names(&[BEFORE], &[&[104, 115, 83, 900, 148, 95]]), ["s3"]);
    }

    #[test]
    fn slower_machine_reports_no_scenario() {
        assert!(names(&[BEFORE], &[&[300, 370, 235, 610, 440, 280]]).is_empty());
        assert_eq!(
            names(&[BEFORE], &[&[300, 370, 235, 610, 2400, 280]]),
            ["s4"]
        );
    }

    #[test]
    fn slowdown_within_noise_is_not_reported() {
        assert!(names(&[BEFORE], &[&[250, 60, 200, 420, 75, 180]]).is_empty());
    }

    #[test]
    fn slowdown_on_one_kernel_is_noise_but_on_most_is_reported() {
        let (calm, burst) = (
            &[104, 115, 83, 210, 148, 95],
            &[104, 115, 83, 2100, 148, 95],
        );
        let before = &[BEFORE, BEFORE, BEFORE];
        assert!(names(before, &[calm, burst, calm]).is_empty());
        assert_eq!(names(before, &[burst, burst, calm]), ["s3"]);
        assert!(names(&[BEFORE, BEFORE], &[burst, calm]).is_empty());
    }

    #[test]
    fn too_few_scenarios_or_too_small_differences_report_nothing() {
        assert!(names(&[&[100, 100]], &[&[100, 900]]).is_empty());
        assert!(names(&[&[1, 1, 1, 1, 1, 1]], &[&[1, 1, 1, 1, 1, 9]]).is_empty());
        assert!(names(&[], &[]).is_empty());
    }

    #[test]
    fn failed_scenarios_are_not_compared() {
        let mut now = report(&[&[104, 115, 83, 900, 148, 95]]);
        now.kernels[0].scenarios[3].verdict = ScenarioVerdict::NotOk;
        assert!(slowdowns(&report(&[BEFORE]), &now).is_empty());
    }

    #[test]
    fn parallel_and_serial_runs_are_not_compared() {
        let mut now = report(&[&[104, 115, 83, 900, 148, 95]]);
        now.kernels[0].side_by_side = true;
        let mut before = report(&[BEFORE]);
        assert!(slowdowns(&before, &now).is_empty());
        before.kernels[0].side_by_side = true;
        assert_eq!(slowdowns(&before, &now).len(), 1);
    }

    #[test]
    fn text_says_on_how_many_kernels_it_was_measured() {
        let one = slowdowns(
            &report(&[BEFORE]),
            &report(&[&[100, 120, 80, 800, 150, 90]]),
        );
        assert_eq!(
            one[0].to_string(),
            "s3 takes 4.0 times as long (measured on one kernel only: a busy machine can cause it)"
        );
    }
}
