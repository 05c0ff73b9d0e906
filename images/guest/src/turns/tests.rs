use std::collections::BTreeMap;

use protocol::event::Outcome;

use super::*;

#[test]
fn what_may_run_beside_others_does_and_no_fault_is_overtaken() {
    let cut = |ids: &[&str]| -> Vec<String> {
        let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
        turns(&ids).iter().map(|turn| turn.join("+")).collect()
    };
    assert_eq!(
        cut(&["attach", "ftrace_off", "detach", "overhead", "load"]),
        ["attach+detach+load", "ftrace_off", "overhead"]
    );
    assert_eq!(
        cut(&["attach", "selftest_fail", "detach", "ftrace_off", "load"]),
        ["attach", "selftest_fail", "detach+load", "ftrace_off"]
    );
    assert_eq!(
        cut(&["attach", "no_such", "detach"]),
        ["attach", "no_such", "detach"]
    );
    assert!(cut(&[]).is_empty());
}

fn ran(id: &str, outcome: Outcome, splat: Option<&str>) -> Ran {
    let result = ScenarioResult {
        outcome,
        duration_us: 1,
        error: None,
        refusal: None,
        backported: false,
        measurements: BTreeMap::new(),
        splat: splat.map(str::to_owned),
    };
    (id.to_owned(), result)
}

fn blamed(ran: &[Ran], again: &[Ran], left: Option<&str>) -> Vec<(String, Outcome)> {
    let blamed = unexplained(ran, again, left).into_iter();
    blamed.map(|(id, result)| (id, result.outcome)).collect()
}

#[test]
fn what_comes_back_alone_is_explained_and_what_does_not_is_blamed_on_all_that_ran() {
    use Outcome::{Failed, Passed, Splat, Unsupported};
    let crowd = [
        ran("a", Splat, Some("BUG")),
        ran("b", Passed, None),
        ran("c", Unsupported, Some("BUG")),
    ];
    let found = [ran("a", Splat, Some("BUG")), ran("c", Unsupported, None)];
    assert_eq!(blamed(&crowd, &found, None), []);
    let gone = [ran("a", Passed, None), ran("c", Unsupported, None)];
    let both = [("a".to_owned(), Splat), ("c".to_owned(), Unsupported)];
    assert_eq!(blamed(&crowd, &gone, None), both);

    let crowd = [ran("a", Passed, None), ran("b", Passed, None)];
    let guilty = [ran("a", Passed, None), ran("b", Failed, None)];
    assert_eq!(blamed(&crowd, &guilty, Some("program 7")), []);
    let all = [("a".to_owned(), Failed), ("b".to_owned(), Failed)];
    assert_eq!(blamed(&crowd, &crowd, Some("program 7")), all);
    assert_eq!(blamed(&crowd, &[], None), []);
}
