//! Compares each feature's claimed minimum with the results on all kernels of a report.

use fexit::{Feature, KernelVersion};
use protocol::event::Outcome;

use super::model::{Confirmed, KernelReport, Minimum, ScenarioReport};
use crate::kernels::Arch;

/// The minimums of all features on each architecture, in the order of the scenarios.
pub fn observe(kernels: &[KernelReport]) -> Vec<Minimum> {
    let mut all = Vec::new();
    for arch in Arch::ALL {
        let kernels: Vec<_> = kernels
            .iter()
            .filter(|kernel| kernel.arch == arch)
            .collect();
        let mut claims = Vec::new();
        for scenario in kernels.iter().flat_map(|kernel| &kernel.scenarios) {
            if let Some(claim) = claim(arch, scenario)
                && !claims.contains(&claim)
            {
                claims.push(claim);
            }
        }
        all.extend(
            claims
                .into_iter()
                .map(|claim| minimum(arch, claim, &kernels)),
        );
    }
    all
}

/// The feature of a scenario, and the release that claims to be the first with it.
type Claim = (String, Option<String>);

/// The claim that a scenario tests. On other architectures than x86-64 the scenario may claim a later release than its
/// feature, because it traces functions.
fn claim(arch: Arch, scenario: &ScenarioReport) -> Option<Claim> {
    let feature = scenario.feature.clone()?;
    let claimed = match Feature::from_name(&feature) {
        Some(feature) if arch != Arch::X86_64 => {
            let minimum = feature.minimum_on(arch.into());
            minimum.map(|minimum| minimum.to_string())
        }
        _ => Some(scenario.minimum.clone()?),
    };
    Some((feature, claimed))
}

/// The headings of [`cells`].
pub(super) const HEADINGS: [&str; 7] = [
    "feature",
    "architecture",
    "claimed",
    "refused up to",
    "passed from",
    "backported on",
    "confirmed",
];

/// A minimum as the row of a table.
pub(super) fn cells(minimum: &Minimum) -> [String; 7] {
    let or_dash = |version: Option<String>| version.unwrap_or_else(|| "–".to_owned());
    let confirmed = match minimum.confirmed {
        Confirmed::Both => "from both sides",
        Confirmed::OneSide => "from one side",
        Confirmed::Contradicted => "contradicted",
        Confirmed::Unconfirmed => "no",
    };
    let backported = minimum.backported_on.join(", ");
    [
        minimum.feature.clone(),
        minimum.arch.to_string(),
        minimum
            .claimed
            .clone()
            .unwrap_or_else(|| "never".to_owned()),
        or_dash(minimum.refused_up_to.clone()),
        or_dash(minimum.passed_from.clone()),
        or_dash(Some(backported).filter(|kernels| !kernels.is_empty())),
        confirmed.to_owned(),
    ]
}

fn minimum(arch: Arch, (feature, claimed): Claim, kernels: &[&KernelReport]) -> Minimum {
    let mut refused: Option<KernelVersion> = None;
    let mut passed: Option<KernelVersion> = None;
    let mut backported: Vec<KernelVersion> = Vec::new();
    for kernel in kernels {
        let Some(version) = kernel.kernel_version() else {
            continue;
        };
        let of_feature = |s: &&ScenarioReport| {
            claim(arch, s).is_some_and(|(own, from)| own == feature && from == claimed)
        };
        for scenario in kernel.scenarios.iter().filter(of_feature) {
            match scenario.outcome {
                Outcome::Passed if scenario.backported => backported.push(version),
                Outcome::Passed => {
                    passed = Some(passed.map_or(version, |oldest| oldest.min(version)));
                }
                Outcome::Unsupported if is_clean(scenario) => refused = refused.max(Some(version)),
                _ => {}
            }
        }
    }
    backported.sort_unstable();
    let mut backported_on: Vec<_> = backported.into_iter().map(series).collect();
    backported_on.dedup();
    Minimum {
        arch,
        feature,
        refused_up_to: refused.map(series),
        passed_from: passed.map(series),
        backported_on,
        confirmed: match &claimed {
            Some(claimed) => confirmed(claimed.parse().ok(), refused, passed),
            None => never(refused, passed),
        },
        claimed,
    }
}

/// Whether the refusal names the scenario's own feature, and the kernel printed no warning.
fn is_clean(scenario: &ScenarioReport) -> bool {
    let refusal = scenario.refusal.as_ref();
    let own = scenario.feature.as_ref();
    refusal.is_some_and(|refusal| Some(&refusal.feature) == own) && scenario.splat.is_none()
}

fn series(version: KernelVersion) -> String {
    version.series().to_string()
}

fn confirmed(
    claimed: Option<KernelVersion>,
    refused: Option<KernelVersion>,
    passed: Option<KernelVersion>,
) -> Confirmed {
    let Some(claimed) = claimed else {
        return Confirmed::Unconfirmed;
    };
    match (refused, passed) {
        (Some(refused), _) if refused >= claimed => Confirmed::Contradicted,
        (_, Some(passed)) if passed < claimed => Confirmed::Contradicted,
        (Some(_), Some(_)) => Confirmed::Both,
        (None, None) => Confirmed::Unconfirmed,
        _ => Confirmed::OneSide,
    }
}

/// Whether kernels confirm that no release has a feature: there is only one side.
fn never(refused: Option<KernelVersion>, passed: Option<KernelVersion>) -> Confirmed {
    match (refused, passed) {
        (_, Some(_)) => Confirmed::Contradicted,
        (Some(_), None) => Confirmed::OneSide,
        (None, None) => Confirmed::Unconfirmed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{kernel, scenario};
    use Outcome::{Failed, Passed, Skipped, Unsupported};

    fn cookie(outcomes: &[(&str, Outcome)]) -> Minimum {
        let kernels: Vec<_> = outcomes
            .iter()
            .map(|(version, outcome)| {
                kernel(
                    version,
                    vec![scenario("cookie", "cookie", "5.19", version, *outcome)],
                )
            })
            .collect();
        observe(&kernels).remove(0)
    }

    #[test]
    fn minimum_is_confirmed_by_both_sides_one_side_or_none() {
        for (outcomes, refused, passed, confirmed) in [
            (
                vec![
                    ("6.12.1", Passed),
                    ("5.15.3", Unsupported),
                    ("5.10.2", Unsupported),
                    ("6.1.9", Passed),
                ],
                Some("5.15"),
                Some("6.1"),
                Confirmed::Both,
            ),
            (
                vec![("6.1.9", Passed)],
                None,
                Some("6.1"),
                Confirmed::OneSide,
            ),
            (
                vec![("5.10.2", Unsupported)],
                Some("5.10"),
                None,
                Confirmed::OneSide,
            ),
            (
                vec![("6.1.9", Failed), ("5.10.2", Skipped)],
                None,
                None,
                Confirmed::Unconfirmed,
            ),
        ] {
            let minimum = cookie(&outcomes);
            assert_eq!(minimum.refused_up_to.as_deref(), refused, "{outcomes:?}");
            assert_eq!(minimum.passed_from.as_deref(), passed, "{outcomes:?}");
            assert_eq!(minimum.confirmed, confirmed, "{outcomes:?}");
        }
    }

    #[test]
    fn one_kernel_on_the_wrong_side_contradicts_the_minimum() {
        for wrong in [
            ("6.1.9", Unsupported),
            ("5.19.0", Unsupported),
            ("5.18.99", Passed),
        ] {
            let minimum = cookie(&[("5.10.2", Unsupported), wrong, ("6.12.1", Passed)]);
            assert_eq!(minimum.confirmed, Confirmed::Contradicted, "{wrong:?}");
        }
    }

    #[test]
    fn feature_with_several_scenarios_is_listed_once() {
        let scenarios = |v: &str| {
            vec![
                scenario("attach", "fexit", "5.5", v, Passed),
                scenario("detach", "fexit", "5.5", v, Passed),
                scenario("cookie", "cookie", "5.19", v, Unsupported),
            ]
        };
        let kernels = [kernel("5.10.2", scenarios("5.10.2"))];
        let names: Vec<_> = observe(&kernels).into_iter().map(|m| m.feature).collect();
        assert_eq!(names, ["fexit", "cookie"]);
    }

    #[test]
    fn each_architecture_has_minimums_of_its_own() {
        let on = |arch, version: &str, minimum: &str, outcome| {
            let scenarios = vec![scenario("attach", "fexit", minimum, version, outcome)];
            KernelReport {
                arch,
                ..kernel(version, scenarios)
            }
        };
        let kernels = [
            on(Arch::Arm64, "6.1.9", "6.4", Unsupported),
            on(Arch::X86_64, "6.1.9", "5.5", Passed),
            on(Arch::Arm64, "6.12.1", "6.4", Passed),
        ];
        let [x86_64, arm64] = observe(&kernels).try_into().unwrap();
        assert_eq!(
            (x86_64.arch, x86_64.confirmed),
            (Arch::X86_64, Confirmed::OneSide)
        );
        assert_eq!(
            (arm64.arch, arm64.confirmed),
            (Arch::Arm64, Confirmed::Both)
        );
        assert_eq!(arm64.claimed.as_deref(), Some("6.4"));
        assert_eq!(arm64.refused_up_to.as_deref(), Some("6.1"));
    }

    #[test]
    fn feature_that_no_release_has_is_confirmed_from_one_side_or_contradicted() {
        for (outcome, confirmed) in [
            (Unsupported, Confirmed::OneSide),
            (Passed, Confirmed::Contradicted),
            (Skipped, Confirmed::Unconfirmed),
        ] {
            let mut many = scenario("many", "multi", "7.2", "7.3.1", outcome);
            many.minimum = None;
            many.refusal = many.refusal.or(Some(protocol::event::Refusal {
                feature: "multi".into(),
                minimum: None,
            }));
            let mut kernel = kernel("7.3.1", vec![many]);
            kernel.arch = Arch::Arm64;
            let [minimum] = observe(&[kernel]).try_into().unwrap();
            assert_eq!(
                (minimum.claimed.as_deref(), minimum.confirmed),
                (None, confirmed)
            );
            assert_eq!(cells(&minimum)[2], "never");
        }
    }

    #[test]
    fn backported_pass_does_not_contradict_the_minimum() {
        let mut early = scenario("cookie", "cookie", "5.19", "5.10.1", Passed);
        early.backported = true;
        let kernels = [
            kernel("5.10.1", vec![early]),
            kernel(
                "6.1.1",
                vec![scenario("cookie", "cookie", "5.19", "6.1.1", Passed)],
            ),
        ];
        let [minimum] = observe(&kernels).try_into().unwrap();
        assert_eq!(minimum.passed_from.as_deref(), Some("6.1"));
        assert_eq!(minimum.backported_on, ["5.10"]);
        assert_eq!(minimum.confirmed, Confirmed::OneSide);
    }

    #[test]
    fn refusal_with_a_kernel_warning_does_not_confirm_a_minimum() {
        let clean = scenario("cookie", "cookie", "5.19", "5.10.1", Unsupported);
        let mut of_another = clean.clone();
        of_another.refusal.as_mut().unwrap().feature = "fexit".into();
        let mut with_splat = clean.clone();
        with_splat.splat = Some("WARNING: x".into());
        let mut nameless = clean.clone();
        nameless.refusal = None;
        for (scenario, refused) in [
            (clean, Some("5.10")),
            (of_another, None),
            (with_splat, None),
            (nameless, None),
        ] {
            let [minimum] = observe(&[kernel("5.10.1", vec![scenario])])
                .try_into()
                .unwrap();
            assert_eq!(minimum.refused_up_to.as_deref(), refused);
        }
    }
}
