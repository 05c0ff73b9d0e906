//! Judges one scenario's result for the report.

use fexit::{Feature, KernelVersion};
use protocol::{
    event::{Outcome, Refusal, ScenarioResult},
    scenario::Scenario,
};

use super::super::{
    model::ScenarioReport,
    verdict::{self, Claim, Expected, Running, ScenarioVerdict},
};
use crate::kernels::{Arch, Tree};

/// Compares a result with the claim of its scenario.
pub(super) fn judge(
    planned: &Scenario,
    result: ScenarioResult,
    running: Option<Running>,
) -> ScenarioReport {
    let claim = Claim::of(
        planned,
        running.map_or(Arch::X86_64, |running| running.arch),
    );
    let by_version = running.map(|running| claim.expected(running.version));
    let below = by_version == Some(Expected::Unsupported);
    let is_vendor = running.is_some_and(|running| running.tree == Tree::Vendor);
    let passed = result.outcome == Outcome::Passed;
    // Below the minimum, a vendor's kernel is asked: its BTF, or, if that cannot show the feature, its behaviour.
    let has_backport = below && is_vendor && result.in_btf.unwrap_or(passed);
    let expected = match by_version {
        Some(_) if has_backport => Some(Expected::Passed),
        by_version => by_version,
    };
    let judged = Judged {
        arch: running.map_or(Arch::X86_64, |running| running.arch),
        planned,
        result: &result,
        below,
        is_vendor,
    };
    let flaw = running.and_then(|running| judged.flaw(expected?, running.version));
    let verdict = match flaw {
        Some(_) => ScenarioVerdict::NotOk,
        None => verdict::scenario(expected, result.outcome),
    };
    let unexplained = || (verdict != ScenarioVerdict::Ok).then(|| "no reason was given".to_owned());
    ScenarioReport {
        id: planned.id.clone(),
        feature: planned.feature.clone(),
        minimum: claim.minimum().map(|minimum| minimum.to_string()),
        in_btf: result.in_btf,
        expected,
        outcome: result.outcome,
        verdict,
        flaky: false,
        duration_us: (result.duration_us > 0).then_some(result.duration_us),
        error: flaw.or(result.error).or_else(unexplained),
        refusal: result.refusal,
        backported: has_backport && passed,
        backports: result.backports,
        splat: result.splat,
        measurements: result.measurements,
    }
}

/// A result that is judged.
struct Judged<'a> {
    arch: Arch,
    planned: &'a Scenario,
    result: &'a ScenarioResult,
    /// Whether the kernel is older than the claimed minimum.
    below: bool,
    is_vendor: bool,
}

impl Judged<'_> {
    /// Why an outcome without a failure is not ok: a claim of the scenario or of the library is wrong, or the kernel
    /// printed a warning.
    fn flaw(&self, expected: Expected, running: KernelVersion) -> Option<String> {
        match self.result.outcome {
            Outcome::Passed => self.flaw_of_pass(expected, running),
            Outcome::Unsupported => self.flaw_of_refusal(expected, running),
            _ => None,
        }
    }

    fn flaw_of_pass(&self, expected: Expected, running: KernelVersion) -> Option<String> {
        if self.result.in_btf == Some(false) {
            return Some(format!(
                "passed on {running}, although its BTF lacks what the library takes for a sign of {}",
                self.feature()
            ));
        }
        if expected == Expected::Unsupported {
            return Some(format!(
                "passed on {running}, below its claimed minimum: the claim is wrong, or a vendor backported it (--vendor)"
            ));
        }
        if !self.is_vendor && !self.result.backports.is_empty() {
            return Some(format!(
                "{running} has {}: the claim is wrong, or a vendor backported it (--vendor)",
                self.result.backports.join(", ")
            ));
        }
        None
    }

    fn flaw_of_refusal(&self, expected: Expected, running: KernelVersion) -> Option<String> {
        let reason = self
            .result
            .error
            .as_deref()
            .unwrap_or("no reason was given");
        let refusal = self.result.refusal.as_ref();
        if self.below && self.result.in_btf == Some(true) && !self.lacks_base() {
            return Some(format!(
                "refused on {running}, although its BTF shows {}: {reason}",
                self.feature()
            ));
        }
        if expected == Expected::Passed {
            return Some(format!(
                "refused on {running}, at or above its claimed minimum: {reason}"
            ));
        }
        let splat = self.result.splat.as_deref();
        let splat = splat.and_then(|splat| splat.lines().next());
        splat
            .map(|line| format!("refused, but the kernel printed: {line}"))
            .or_else(|| verdict::flaw_of_refusal(refusal, running))
            .or_else(|| another_feature(self.planned, refusal?, self.arch))
    }

    /// Whether the refusal names what the architecture got later than the scenario's feature, whose types came with x86-64.
    fn lacks_base(&self) -> bool {
        let refusal = self.result.refusal.as_ref();
        self.arch != Arch::X86_64
            && refusal.is_some_and(|refusal| {
                refusal.feature != self.feature() && is_base(&refusal.feature, self.arch)
            })
    }

    fn feature(&self) -> &str {
        self.planned.feature.as_deref().unwrap_or_default()
    }
}

/// A refusal that names another feature than the scenario's does not confirm the minimum, unless it names the base of all.
fn another_feature(planned: &Scenario, refusal: &Refusal, arch: Arch) -> Option<String> {
    let own = planned.feature.as_deref()?;
    let named = refusal.feature.as_str();
    let is_clean = named == own || is_base(named, arch);
    (!is_clean).then(|| format!("refused because {named} is missing, not {own}"))
}

/// Whether no feature works without this one: fexit, and on other architectures than x86-64, which got several features at
/// once, those that came with it.
fn is_base(named: &str, arch: Arch) -> bool {
    let minimum = |feature: Feature| feature.minimum_on(arch.into());
    let came_with_fexit = |feature| minimum(feature) == minimum(Feature::Fexit);
    named == Feature::Fexit.name()
        || arch != Arch::X86_64 && Feature::from_name(named).is_some_and(came_with_fexit)
}
