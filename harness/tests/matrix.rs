//! What the kernels of the matrix can tell about the claims of the library.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fexit::{Feature, KernelVersion};
use harness::kernel::{Kernels, Options, commands};

/// The versions of all series, and of those that `all` means.
fn versions() -> [Vec<KernelVersion>; 2] {
    let dir = tempfile::tempdir().unwrap();
    let kernels = Kernels::open(Options {
        cache_dir: Some(dir.path().to_owned()),
        offline: true,
        ..Options::default()
    });
    let series = commands::list(&kernels.unwrap()).unwrap();
    let of = |all: bool| {
        let wanted = series.iter().filter(|series| series.in_all || !all);
        wanted.map(|series| series.name.parse().unwrap()).collect()
    };
    [of(false), of(true)]
}

#[test]
fn every_feature_is_within_reach_of_all_and_has_a_kernel_below_it() {
    let [any, all] = versions();
    for feature in Feature::ALL {
        let minimum = feature.minimum();
        let name = feature.name();
        assert!(
            all.iter().any(|version| *version >= minimum),
            "no kernel of `all` can pass {name}, from {minimum} on"
        );
        // Below the first release with BPF trampolines the library refuses everything alike.
        let oldest = Feature::Fexit.minimum();
        assert!(
            minimum == oldest || any.iter().any(|version| *version < minimum),
            "no kernel can refuse {name}, from {minimum} on"
        );
    }
}
