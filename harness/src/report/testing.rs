//! Small reports for the tests of this module.

use std::collections::BTreeMap;

use protocol::{
    event::{Outcome, Refusal},
    scenario::Scenario,
};

use super::{
    Tree,
    model::{KernelReport, Report, ScenarioReport},
    verdict::{self, Claim, KernelVerdict},
};

/// A scenario of a plan.
pub(crate) fn planned(id: &str, feature: &str, minimum: (u16, u16)) -> Scenario {
    Scenario {
        id: id.into(),
        feature: Some(feature.into()),
        minimum: Some(minimum),
        ..Scenario::default()
    }
}

/// A scenario of 1 ms on a kernel of that version.
pub(crate) fn scenario(
    id: &str,
    feature: &str,
    minimum: &str,
    version: &str,
    outcome: Outcome,
) -> ScenarioReport {
    let claim = Claim::From(minimum.parse().unwrap());
    let expected = Some(claim.expected(version.parse().unwrap()));
    ScenarioReport {
        id: id.into(),
        feature: Some(feature.into()),
        minimum: Some(minimum.into()),
        in_btf: None,
        expected,
        outcome,
        verdict: verdict::scenario(expected, outcome),
        flaky: false,
        duration_us: Some(1000),
        error: (outcome != Outcome::Passed).then(|| "why <it> did\nnot pass".into()),
        refusal: (outcome == Outcome::Unsupported).then(|| Refusal {
            feature: feature.into(),
            minimum: Some(minimum.into()),
        }),
        backported: false,
        backports: Vec::new(),
        splat: None,
        measurements: BTreeMap::new(),
    }
}

/// A kernel that finished.
pub(crate) fn kernel(version: &str, scenarios: Vec<ScenarioReport>) -> KernelReport {
    KernelReport {
        requested: version.into(),
        release: Some(format!("{version}-test")),
        version: Some(version.into()),
        tree: Some(Tree::Mainline),
        verdict: verdict::kernel(
            &scenarios.iter().map(|s| s.verdict).collect::<Vec<_>>(),
            true,
        ),
        scenarios,
        ..KernelReport::default()
    }
}

/// A kernel that did not boot.
pub(crate) fn broken_kernel(requested: &str, error: &str) -> KernelReport {
    KernelReport {
        requested: requested.into(),
        verdict: KernelVerdict::Infra,
        error: Some(error.into()),
        ..KernelReport::default()
    }
}

/// A report on 6.1 with scenarios of fexit.
pub(crate) fn report(scenarios: &[(&str, Outcome)]) -> Report {
    let scenarios = scenarios
        .iter()
        .map(|(id, outcome)| scenario(id, "fexit", "5.5", "6.1.0", *outcome))
        .collect();
    Report::new(vec![kernel("6.1", scenarios)])
}
