//! Compares each feature's claimed minimum with the results on all kernels of a report.

use fexit::KernelVersion;
use protocol::event::Outcome;

use super::model::{Confirmed, KernelReport, Minimum, ScenarioReport};

/// The minimums of all features, in the order of the scenarios.
pub fn observe(kernels: &[KernelReport]) -> Vec<Minimum> {
    let mut features: Vec<(&str, &str)> = Vec::new();
    for scenario in kernels.iter().flat_map(|kernel| &kernel.scenarios) {
        if let (Some(feature), Some(minimum)) = (&scenario.feature, &scenario.minimum)
            && !features.contains(&(feature, minimum))
        {
            features.push((feature, minimum));
        }
    }
    features
        .into_iter()
        .map(|(feature, claimed)| minimum(feature, claimed, kernels))
        .collect()
}

/// The headings of [`cells`].
pub(super) const HEADINGS: [&str; 6] = [
    "feature",
    "claimed",
    "refused up to",
    "passed from",
    "backported on",
    "confirmed",
];

/// A minimum as the row of a table.
pub(super) fn cells(minimum: &Minimum) -> [String; 6] {
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
        minimum.claimed.clone(),
        or_dash(minimum.refused_up_to.clone()),
        or_dash(minimum.passed_from.clone()),
        or_dash(Some(backported).filter(|kernels| !kernels.is_empty())),
        confirmed.to_owned(),
    ]
}

fn minimum(feature: &str, claimed: &str, kernels: &[KernelReport]) -> Minimum {
    let mut refused: Option<KernelVersion> = None;
    let mut passed: Option<KernelVersion> = None;
    let mut backported: Vec<KernelVersion> = Vec::new();
    for kernel in kernels {
        let Some(version) = kernel.kernel_version() else {
            continue;
        };
        let of_feature = |s: &&ScenarioReport| {
            s.feature.as_deref() == Some(feature) && s.minimum.as_deref() == Some(claimed)
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
        feature: feature.to_owned(),
        claimed: claimed.to_owned(),
        refused_up_to: refused.map(series),
        passed_from: passed.map(series),
        backported_on,
        confirmed: confirmed(claimed.parse().ok(), refused, passed),
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
