//! The scenarios: a file for each family, and one list.

mod arguments;
mod counter;
mod crowd;
mod example;
mod externs;
mod fixture;
mod globals;
mod helper_table;
mod helpers;
mod interop;
mod jit;
mod kernel_faults;
mod kinds;
mod lifecycle;
mod limits;
mod links;
mod maps;
mod misuse;
mod module;
mod moved;
mod overhead;
mod pins;
mod privilege;
mod refusals;
mod selftest;
mod sessions;
mod shared_maps;
mod signatures;
mod streams;
mod targets;
mod ten_to_twelve;
mod test_run;
mod tools;
mod verifier;

use crate::scenario::Scenario;

/// Every family, in the order in which a full run takes them.
const FAMILIES: &[&[Scenario]] = &[
    example::SCENARIOS,
    arguments::SCENARIOS,
    lifecycle::SCENARIOS,
    links::SCENARIOS,
    misuse::SCENARIOS,
    kinds::SCENARIOS,
    globals::SCENARIOS,
    externs::SCENARIOS,
    maps::SCENARIOS,
    refusals::SCENARIOS,
    verifier::SCENARIOS,
    limits::SCENARIOS,
    jit::SCENARIOS,
    privilege::SCENARIOS,
    targets::SCENARIOS,
    module::SCENARIOS,
    pins::SCENARIOS,
    test_run::SCENARIOS,
    helpers::SCENARIOS,
    helper_table::SCENARIOS,
    streams::SCENARIOS,
    interop::SCENARIOS,
    moved::SCENARIOS,
    shared_maps::SCENARIOS,
    signatures::SCENARIOS,
    ten_to_twelve::SCENARIOS,
    sessions::SCENARIOS,
    overhead::SCENARIOS,
    tools::SCENARIOS,
    selftest::SCENARIOS,
    crowd::SCENARIOS,
    kernel_faults::SCENARIOS,
];

/// All scenarios, the hidden ones among them.
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
            assert!(seen.insert(scenario.id), "{} is there twice", scenario.id);
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
    fn faults_made_on_purpose_are_hidden_and_nothing_else_is() {
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
    fn a_scenario_is_found_by_its_id() {
        assert_eq!(
            find("take_link").map(|scenario| scenario.id),
            Some("take_link")
        );
        assert!(find("take_links").is_none());
    }
}
