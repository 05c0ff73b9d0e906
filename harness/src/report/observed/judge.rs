//! Judges one scenario's result for the report.

use fexit::{Feature, KernelVersion};
use protocol::{
    event::{Outcome, Refusal, ScenarioResult},
    scenario::Scenario,
};

use super::super::{
    model::ScenarioReport,
    verdict::{self, Expected, ScenarioVerdict},
};

/// Compares a result with the claim of its scenario.
pub(super) fn judge(
    planned: &Scenario,
    result: ScenarioResult,
    running: Option<KernelVersion>,
) -> ScenarioReport {
    let minimum = planned.minimum;
    let minimum = minimum.map(|(major, minor)| KernelVersion::new(major, minor, 0));
    let expected = running.map(|running| {
        if result.backported {
            Expected::Passed
        } else {
            verdict::expected(minimum, running)
        }
    });
    let flaw = running.and_then(|running| flaw(planned, expected?, &result, running));
    let verdict = match flaw {
        Some(_) => ScenarioVerdict::NotOk,
        None => verdict::scenario(expected, result.outcome),
    };
    let unexplained = || (verdict != ScenarioVerdict::Ok).then(|| "no reason was given".to_owned());
    ScenarioReport {
        id: planned.id.clone(),
        feature: planned.feature.clone(),
        minimum: minimum.map(|minimum| minimum.to_string()),
        expected,
        outcome: result.outcome,
        verdict,
        duration_us: (result.duration_us > 0).then_some(result.duration_us),
        error: flaw.or(result.error).or_else(unexplained),
        refusal: result.refusal,
        backported: result.backported,
        splat: result.splat,
        measurements: result.measurements,
    }
}

/// Why an outcome without a failure is not ok: a claim of the scenario or of the library is wrong, or the kernel printed
/// a warning.
fn flaw(
    planned: &Scenario,
    expected: Expected,
    result: &ScenarioResult,
    running: KernelVersion,
) -> Option<String> {
    let reason = result.error.as_deref().unwrap_or("no reason was given");
    match (result.outcome, expected) {
        (Outcome::Passed, Expected::Unsupported) => Some(format!(
            "passed on {running}, below its claimed minimum: the claim is wrong"
        )),
        (Outcome::Unsupported, Expected::Passed) => Some(format!(
            "refused on {running}, at or above its claimed minimum: {reason}"
        )),
        (Outcome::Unsupported, Expected::Unsupported) => {
            let splat = result
                .splat
                .as_deref()
                .and_then(|splat| splat.lines().next());
            splat
                .map(|line| format!("refused, but the kernel printed: {line}"))
                .or_else(|| verdict::flaw_of_refusal(result.refusal.as_ref(), running))
                .or_else(|| another_feature(planned, result.refusal.as_ref()?))
        }
        _ => None,
    }
}

/// A refusal that names another feature than the scenario's does not confirm the minimum. One that names fexit does:
/// without it no other feature works.
fn another_feature(planned: &Scenario, refusal: &Refusal) -> Option<String> {
    let own = planned.feature.as_deref()?;
    (![own, Feature::Fexit.name()].contains(&&*refusal.feature))
        .then(|| format!("refused because {} is missing, not {own}", refusal.feature))
}
