//! Results compared with the claimed minimums.

use super::*;
use crate::report::{
    Tree,
    verdict::{Expected, ScenarioVerdict},
};

/// A run on 5.10 in which `cookie`, whose minimum is 5.19, has the outcome, with `change` made to its result.
fn with_cookie(outcome: Outcome, change: impl FnOnce(&mut ScenarioResult)) -> ScenarioReport {
    let report = run(&[finished_as("cookie", outcome, change)], &Ending::Done);
    report.scenario("cookie").cloned().unwrap()
}

#[test]
fn outcome_on_the_wrong_side_of_the_minimum_is_not_ok() {
    let mut events = complete_run();
    events[2] = finished("attach", Outcome::Unsupported);
    events[4] = finished("cookie", Outcome::Passed);
    let report = run(&events, &Ending::Done);
    assert_eq!(report.count(ScenarioVerdict::NotOk), 2);
    for (scenario, error) in report.scenarios.iter().zip([
        "refused on 5.10.262, at or above",
        "passed on 5.10.262, below",
    ]) {
        let actual = scenario.error.as_deref().unwrap();
        assert!(actual.starts_with(error), "{actual}");
    }
}

#[test]
fn refusal_with_a_kernel_warning_is_not_ok() {
    let cookie = with_cookie(Outcome::Unsupported, |result| {
        result.splat = Some("WARNING: CPU: 0\nCall Trace:".into());
    });
    assert_eq!(cookie.verdict, ScenarioVerdict::NotOk);
    assert_eq!(
        cookie.error.as_deref(),
        Some("refused, but the kernel printed: WARNING: CPU: 0")
    );
}

#[test]
fn failure_without_a_reason_says_so() {
    let cookie = with_cookie(Outcome::Failed, |result| result.error = None);
    assert_eq!(cookie.error.as_deref(), Some("no reason was given"));
}

/// Judges `cookie`, whose minimum is 5.19, on 5.10 of that tree.
fn below(tree: Tree, outcome: Outcome, in_btf: Option<bool>) -> ScenarioReport {
    let early = finished_as("cookie", outcome, |result| result.in_btf = in_btf);
    let report = observe(on("5.10.262", tree), &[early], &Ending::Done);
    report.scenario("cookie").cloned().unwrap()
}

#[test]
fn below_its_minimum_a_pass_is_a_backport_on_a_vendor_kernel_only() {
    use ScenarioVerdict::{NotOk, Ok};
    for (tree, in_btf, verdict, reason) in [
        (Tree::Vendor, Some(true), Ok, ""),
        (Tree::Vendor, None, Ok, ""),
        (
            Tree::Vendor,
            Some(false),
            NotOk,
            "its BTF lacks what the library takes for a sign of cookie",
        ),
        (
            Tree::Mainline,
            Some(true),
            NotOk,
            "below its claimed minimum",
        ),
        (Tree::Mainline, None, NotOk, "below its claimed minimum"),
    ] {
        let cookie = below(tree, Outcome::Passed, in_btf);
        let case = format!("{tree:?} {in_btf:?}: {:?}", cookie.error);
        assert_eq!((cookie.verdict, cookie.in_btf), (verdict, in_btf), "{case}");
        assert_eq!(cookie.backported, verdict == Ok, "{case}");
        if verdict == Ok {
            assert_eq!(cookie.expected, Some(Expected::Passed), "{case}");
        }
        assert!(cookie.error.unwrap_or_default().contains(reason), "{case}");
    }
}

#[test]
fn refusal_must_not_contradict_the_kernels_btf() {
    use ScenarioVerdict::{NotOk, Ok};
    for tree in [Tree::Vendor, Tree::Mainline] {
        for (in_btf, verdict) in [(Some(true), NotOk), (Some(false), Ok), (None, Ok)] {
            let cookie = below(tree, Outcome::Unsupported, in_btf);
            let case = format!("{tree:?} {in_btf:?}: {:?}", cookie.error);
            assert_eq!(
                (cookie.verdict, cookie.backported),
                (verdict, false),
                "{case}"
            );
            let contradicts = cookie
                .error
                .unwrap()
                .contains("although its BTF shows cookie");
            assert_eq!(contradicts, verdict == NotOk, "{case}");
        }
    }
}

#[test]
fn on_x86_64_a_refusal_of_fexit_does_not_excuse_one_that_btf_contradicts() {
    for (named, part) in [
        ("fexit", "although its BTF shows cookie"),
        ("fentry", "although its BTF shows cookie"),
    ] {
        let cookie = finished_as("cookie", Outcome::Unsupported, |result| {
            result.in_btf = Some(true);
            result.refusal = Some(refusal(named, "5.5"));
        });
        let report = observe(on("4.18.0", Tree::Vendor), &[cookie], &Ending::Done);
        let cookie = report.scenario("cookie").unwrap();
        let error = cookie.error.clone().unwrap();
        assert_eq!(cookie.verdict, ScenarioVerdict::NotOk, "{error}");
        assert!(error.contains(part), "{error}");
    }
    // A refusal that names fexit excuses any other feature, since all need it; one of another feature does not.
    for (named, verdict) in [
        ("fexit", ScenarioVerdict::Ok),
        ("fentry", ScenarioVerdict::NotOk),
    ] {
        let cookie = finished_as("cookie", Outcome::Unsupported, |result| {
            result.refusal = Some(refusal(named, "5.5"));
        });
        let report = observe(on("5.4.1", Tree::Mainline), &[cookie], &Ending::Done);
        assert_eq!(
            report.scenario("cookie").unwrap().verdict,
            verdict,
            "{named}"
        );
    }
}

#[test]
fn at_or_above_its_minimum_a_vendor_kernel_must_have_the_feature() {
    for (outcome, in_btf, verdict) in [
        (Outcome::Passed, Some(true), ScenarioVerdict::Ok),
        (Outcome::Passed, Some(false), ScenarioVerdict::NotOk),
        (Outcome::Unsupported, Some(false), ScenarioVerdict::NotOk),
    ] {
        let cookie = finished_as("cookie", outcome, |result| result.in_btf = in_btf);
        let report = observe(on("6.1.9", Tree::Vendor), &[cookie], &Ending::Done);
        let cookie = report.scenario("cookie").unwrap();
        assert_eq!(
            (cookie.verdict, cookie.backported),
            (verdict, false),
            "{outcome:?} {in_btf:?}"
        );
    }
}

#[test]
fn rows_of_a_table_that_a_kernel_has_early_are_backports_on_a_vendor_kernel_only() {
    for (tree, verdict) in [
        (Tree::Vendor, ScenarioVerdict::Ok),
        (Tree::Mainline, ScenarioVerdict::NotOk),
    ] {
        let table = finished_as("attach", Outcome::Passed, |result| {
            result.backports = vec!["bpf_loop (5.17)".to_owned()];
        });
        let report = observe(on("5.10.262", tree), &[table], &Ending::Done);
        let table = report.scenario("attach").unwrap();
        assert_eq!(table.verdict, verdict, "{tree:?}");
        assert_eq!(table.backports, ["bpf_loop (5.17)"]);
        let error = table.error.as_deref().unwrap_or_default();
        assert_eq!(
            error.contains("5.10.262 has bpf_loop"),
            tree == Tree::Mainline,
            "{error}"
        );
    }
}

#[test]
fn refusal_must_name_the_feature_of_the_scenario() {
    let own = with_cookie(Outcome::Unsupported, |_| {});
    assert_eq!(own.verdict, ScenarioVerdict::Ok);
    let other = with_cookie(Outcome::Unsupported, |result| {
        result.refusal = Some(refusal("fsession", "7.0"));
    });
    assert_eq!(other.verdict, ScenarioVerdict::NotOk);
    let error = other.error.unwrap();
    assert!(error.contains("fsession is missing"), "{error}");
}

#[test]
fn below_the_fexit_minimum_a_refusal_may_name_fexit() {
    for (version, verdict) in [
        ("5.4.273", ScenarioVerdict::Ok),
        ("5.10.262", ScenarioVerdict::NotOk),
    ] {
        let refused = finished_as("cookie", Outcome::Unsupported, |result| {
            result.refusal = Some(refusal("fexit", "5.5"));
        });
        let report = observe(on(version, Tree::Mainline), &[refused], &Ending::Done);
        let cookie = report.scenario("cookie").unwrap();
        assert_eq!(cookie.verdict, verdict, "{version}");
    }
}

#[test]
fn scenario_without_a_feature_must_pass_on_every_kernel() {
    let planned = Scenario {
        id: "cookie".into(),
        ..Scenario::default()
    };
    for (outcome, verdict) in [
        (Outcome::Passed, ScenarioVerdict::Ok),
        (Outcome::Unsupported, ScenarioVerdict::NotOk),
    ] {
        let running = Running::mainline("4.18.0".parse().unwrap());
        let observed = Observed::new(std::slice::from_ref(&planned), Some(running));
        let report = observe(observed, &[finished("cookie", outcome)], &Ending::Done);
        let cookie = report.scenario("cookie").unwrap();
        assert_eq!((cookie.verdict, &cookie.minimum), (verdict, &None));
        assert_eq!(cookie.expected, Some(Expected::Passed));
    }
}
