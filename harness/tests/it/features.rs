//! Every minimum version that the library claims can be observed: by a scenario, on kernels of the matrix.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fexit::{Feature, KernelVersion};
use harness::{
    kernels::{Kernels, Options, operations},
    session::plan,
};
use protocol::scenario::Scenario;

#[test]
fn every_feature_has_a_scenario_that_claims_its_minimum() {
    let scenarios = plan::catalog().unwrap();
    for feature in Feature::ALL {
        let minimum = feature.minimum();
        let shows = |scenario: &&Scenario| scenario.feature.as_deref() == Some(feature.name());
        assert!(
            scenarios.iter().any(|scenario| shows(&scenario)),
            "no scenario shows {feature}"
        );
        for scenario in scenarios.iter().filter(shows) {
            assert_eq!(scenario.minimum, Some((minimum.major, minimum.minor)));
        }
    }
}

#[test]
fn matrix_has_a_kernel_on_either_side_of_every_minimum() {
    let empty = tempfile::tempdir().unwrap();
    let kernels = Kernels::open(Options {
        cache_dir: Some(empty.path().to_owned()),
        offline: true,
        ..Options::default()
    })
    .unwrap();
    let series: Vec<KernelVersion> = operations::list(&kernels)
        .unwrap()
        .iter()
        // Those of distributions have other names, and backports.
        .filter_map(|series| series.name.parse().ok())
        .collect();
    for feature in Feature::ALL {
        let minimum = feature.minimum();
        assert!(series.iter().any(|kernel| *kernel >= minimum), "{feature}");
        assert!(series.iter().any(|kernel| *kernel < minimum), "{feature}");
    }
}
