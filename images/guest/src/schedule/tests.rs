use protocol::event::Outcome;

use super::*;

#[test]
fn parallel_scenarios_share_a_batch_and_never_cross_a_deliberate_fault() {
    let split = |ids: &[&str]| -> Vec<String> {
        let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
        batches(&ids).iter().map(|batch| batch.join("+")).collect()
    };
    assert_eq!(
        split(&["attach", "ftrace_off", "detach", "overhead", "load"]),
        ["attach+detach+load", "ftrace_off", "overhead"]
    );
    assert_eq!(
        split(&["attach", "selftest_fail", "detach", "ftrace_off", "load"]),
        ["attach", "selftest_fail", "detach+load", "ftrace_off"]
    );
    assert_eq!(
        split(&["attach", "no_such", "detach"]),
        ["attach", "no_such", "detach"]
    );
    assert!(split(&[]).is_empty());
}

fn ran(id: &str, outcome: Outcome, splat: Option<&str>) -> Ran {
    let mut result = ScenarioResult::new(outcome, None);
    result.splat = splat.map(str::to_owned);
    (id.to_owned(), result)
}

fn blamed(ran: &[Ran], again: &[Ran], left: Option<&str>) -> Vec<(String, Outcome)> {
    let blamed = unexplained(ran, again, left).into_iter();
    blamed.map(|(id, result)| (id, result.outcome)).collect()
}

#[test]
fn fault_that_does_not_recur_serially_is_attributed_to_all_that_ran() {
    use Outcome::{Failed, Passed, Splat, Unsupported};
    let parallel = [
        ran("a", Splat, Some("BUG")),
        ran("b", Passed, None),
        ran("c", Unsupported, Some("BUG")),
    ];
    let found = [ran("a", Splat, Some("BUG")), ran("c", Unsupported, None)];
    assert_eq!(blamed(&parallel, &found, None), []);
    let gone = [ran("a", Passed, None), ran("c", Unsupported, None)];
    let both = [("a".to_owned(), Splat), ("c".to_owned(), Unsupported)];
    assert_eq!(blamed(&parallel, &gone, None), both);

    let parallel = [ran("a", Passed, None), ran("b", Passed, None)];
    let second = [ran("a", Passed, None), ran("b", Failed, None)];
    assert_eq!(blamed(&parallel, &second, Some("program 7")), []);
    let all = [("a".to_owned(), Failed), ("b".to_owned(), Failed)];
    assert_eq!(blamed(&parallel, &parallel, Some("program 7")), all);
    assert_eq!(blamed(&parallel, &[], None), []);
    // A scenario that failed did not clean up.
    assert_eq!(blamed(&second, &parallel, Some("program 7")), []);
}
