//! The scenarios: one file per family, and one list of all.

/// Requires an error that matches a pattern, see [`counter::expect_error`]: `expect_error!("a second load", result =>
/// Error::AlreadyLoaded)`.
macro_rules! expect_error {
    ($what:expr, $result:expr => $($pattern:tt)+) => {
        super::counter::expect_error($what, $result, |error| matches!(error, $($pattern)+))
    };
}

mod arguments;
mod attachable;
mod aya_compat;
mod callers;
mod capabilities;
mod counter;
mod event_maps;
mod example;
mod externs;
mod fentry;
mod fixture;
mod fmod_ret;
mod ftrace;
mod globals;
mod helper_table;
mod helpers;
mod interop;
mod invalid_calls;
mod jit;
mod kernel_faults;
mod lifecycle;
mod links;
mod lsm;
mod many_arguments;
mod map_values;
mod maps;
mod module;
mod newer_programs;
mod other_types;
mod overhead;
mod parallel_faults;
mod pins;
mod program_limit;
mod program_types;
mod selftest;
mod sessions;
mod shared_maps;
mod signatures;
mod smp;
mod struct_ops;
mod symbols;
mod target_errors;
mod targets;
mod test_run;
mod tools;
mod tp_btf;
mod verifier;

use crate::scenario::Scenario;

/// All families, in the order of a full run.
const FAMILIES: &[&[Scenario]] = &[
    example::SCENARIOS,
    arguments::SCENARIOS,
    lifecycle::SCENARIOS,
    links::SCENARIOS,
    invalid_calls::SCENARIOS,
    program_types::SCENARIOS,
    globals::SCENARIOS,
    externs::SCENARIOS,
    maps::SCENARIOS,
    map_values::SCENARIOS,
    target_errors::SCENARIOS,
    verifier::SCENARIOS,
    program_limit::SCENARIOS,
    jit::SCENARIOS,
    capabilities::SCENARIOS,
    targets::SCENARIOS,
    module::SCENARIOS,
    pins::SCENARIOS,
    test_run::SCENARIOS,
    helpers::SCENARIOS,
    helper_table::SCENARIOS,
    event_maps::SCENARIOS,
    interop::SCENARIOS,
    aya_compat::SCENARIOS,
    shared_maps::SCENARIOS,
    signatures::SCENARIOS,
    many_arguments::SCENARIOS,
    sessions::SCENARIOS,
    fentry::SCENARIOS,
    fmod_ret::SCENARIOS,
    ftrace::SCENARIOS,
    lsm::SCENARIOS,
    tp_btf::SCENARIOS,
    other_types::SCENARIOS,
    struct_ops::SCENARIOS,
    newer_programs::SCENARIOS,
    smp::SCENARIOS,
    overhead::SCENARIOS,
    tools::SCENARIOS,
    selftest::SCENARIOS,
    parallel_faults::SCENARIOS,
    kernel_faults::SCENARIOS,
];

/// All scenarios, including hidden ones.
pub fn all() -> impl Iterator<Item = &'static Scenario> {
    FAMILIES.iter().copied().flatten()
}

/// The scenario with this id.
pub fn find(id: &str) -> Option<&'static Scenario> {
    all().find(|scenario| scenario.id == id)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_unique_and_in_snake_case() {
        let mut seen = HashSet::new();
        for scenario in all() {
            assert!(
                seen.insert(scenario.id),
                "the id {} is not unique",
                scenario.id
            );
            let snake = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(scenario.id.chars().all(snake), "{}", scenario.id);
            assert!(
                !scenario.title.is_empty() && !scenario.title.ends_with('.'),
                "{}",
                scenario.id
            );
        }
    }

    #[test]
    fn exactly_the_deliberate_faults_are_hidden() {
        for scenario in all() {
            assert_eq!(
                scenario.hidden,
                scenario.id.starts_with("selftest_"),
                "{}",
                scenario.id
            );
        }
    }

    #[test]
    fn scenario_is_found_by_its_id() {
        assert_eq!(
            find("take_link").map(|scenario| scenario.id),
            Some("take_link")
        );
        assert!(find("take_links").is_none());
    }
}
