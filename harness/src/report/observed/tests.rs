use super::super::{Expected, ScenarioVerdict};
use super::*;
use crate::report::testing;
use protocol::event::Refusal;

fn planned() -> [Scenario; 3] {
    [
        testing::planned("attach", "fexit", (5, 5)),
        testing::planned("cookie", "cookie", (5, 19)),
        testing::planned("unload", "fexit", (5, 5)),
    ]
}

fn ready() -> Event {
    Event::Ready {
        release: "5.10.0-46-cloud-amd64".into(),
        uptime_us: 1,
    }
}

fn started(id: &str) -> Event {
    Event::Started {
        scenario: id.into(),
    }
}

fn finished(id: &str, outcome: Outcome) -> Event {
    let refusal = (outcome == Outcome::Unsupported).then(|| Refusal {
        feature: "cookie".into(),
        minimum: "5.19".into(),
    });
    let result = ScenarioResult {
        outcome,
        duration_us: 7,
        error: (outcome != Outcome::Passed).then(|| "why".to_owned()),
        refusal,
        backported: false,
        measurements: BTreeMap::new(),
        splat: None,
    };
    Event::Finished {
        scenario: id.into(),
        result,
    }
}

fn run(events: &[Event], ending: &Ending) -> KernelReport {
    let mut report = KernelReport {
        version: Some("5.10.262".into()),
        ..Default::default()
    };
    let mut observed = Observed::new(&planned(), "5.10.262".parse().ok());
    events.iter().for_each(|event| observed.event(event));
    observed.vm_ended(ending, &LastWords::default());
    observed.conclude(&mut report);
    assert_eq!(
        report.scenarios.len(),
        planned().len(),
        "a scenario is missing"
    );
    report
}

fn outcomes(report: &KernelReport) -> Vec<Outcome> {
    report
        .scenarios
        .iter()
        .map(|scenario| scenario.outcome)
        .collect()
}

fn whole_run() -> Vec<Event> {
    vec![
        ready(),
        started("attach"),
        finished("attach", Outcome::Passed),
        started("cookie"),
        finished("cookie", Outcome::Unsupported),
        started("unload"),
        finished("unload", Outcome::Passed),
        Event::Done { scenarios: 3 },
    ]
}

#[test]
fn a_whole_run_is_ok() {
    let report = run(&whole_run(), &Ending::Done);
    assert_eq!(
        outcomes(&report),
        [Outcome::Passed, Outcome::Unsupported, Outcome::Passed]
    );
    assert_eq!(
        (report.verdict, report.error.as_deref()),
        (KernelVerdict::Ok, None)
    );
    assert_eq!(report.scenarios[0].duration_us, Some(7));
}

#[test]
fn truncated_run_is_never_ok_and_keeps_what_was_reported() {
    let endings = [
        Ending::Broke("the VM ended early".into()),
        Ending::Panicked("Attempted to kill init!".into()),
        Ending::TimedOut("longer than 9 s".into()),
        Ending::Infra("QEMU was killed".into()),
    ];
    let whole = whole_run();
    for ending in &endings {
        for heard in 0..whole.len() {
            let report = run(&whole[..heard], ending);
            let kept = outcomes(&report)
                .iter()
                .filter(|o| **o == Outcome::Passed)
                .count();
            assert_eq!(kept, usize::from(heard >= 3) + usize::from(heard >= 7));
            // Where all the others have their results, the one that answers for the end says it all.
            let answered = heard == 6 && !matches!(ending, Ending::Infra(_));
            assert_eq!(report.error.is_none(), answered, "{ending:?} after {heard}");
            let infra = heard == 0 || matches!(ending, Ending::Infra(_));
            let wanted = if infra {
                KernelVerdict::Infra
            } else {
                KernelVerdict::NotOk
            };
            assert_eq!(report.verdict, wanted, "{ending:?} after {heard}");
        }
    }
}

#[test]
fn running_scenario_is_blamed_and_later_ones_are_not_reached() {
    for (ending, outcome) in [
        (Ending::Broke("x".into()), Outcome::Failed),
        (Ending::Panicked("x".into()), Outcome::Panicked),
        (Ending::TimedOut("x".into()), Outcome::TimedOut),
        (Ending::Infra("x".into()), Outcome::Skipped),
    ] {
        let report = run(&whole_run()[..4], &ending); // cookie has started
        assert_eq!(
            outcomes(&report),
            [Outcome::Passed, outcome, Outcome::Skipped]
        );
        let verdicts: Vec<_> = report.scenarios.iter().map(|s| s.verdict).collect();
        let blamed = match ending {
            Ending::Infra(_) => ScenarioVerdict::Unknown,
            _ => ScenarioVerdict::NotOk,
        };
        assert_eq!(
            verdicts,
            [ScenarioVerdict::Ok, blamed, ScenarioVerdict::Unknown]
        );
        let last = report.scenarios[2].error.as_deref().unwrap();
        assert!(last.starts_with("not reached: "), "{last}");
    }
}

#[test]
fn a_panic_after_done_is_not_ok() {
    let report = run(&whole_run(), &Ending::Panicked("late".into()));
    assert_eq!(report.verdict, KernelVerdict::NotOk);
    assert_eq!(
        report.error.as_deref(),
        Some("the kernel panicked after the last scenario: late")
    );
}

#[test]
fn unreported_scenario_is_not_ok() {
    let mut events = whole_run();
    events.drain(3..5);
    let report = run(&events, &Ending::Done);
    assert_eq!(report.scenarios[1].outcome, Outcome::Skipped);
    assert_ne!(report.verdict, KernelVerdict::Ok);
    assert!(report.error.unwrap().contains("never reported cookie"));
}

#[test]
fn wrong_claims_are_not_ok_and_say_so() {
    let mut events = whole_run();
    events[2] = finished("attach", Outcome::Unsupported);
    events[4] = finished("cookie", Outcome::Passed);
    let report = run(&events, &Ending::Done);
    let errors: Vec<_> = report
        .scenarios
        .iter()
        .map(|s| s.error.clone().unwrap_or_default())
        .collect();
    assert_eq!(report.count(ScenarioVerdict::NotOk), 2);
    assert!(
        errors[0].starts_with("refused on 5.10.262, at or above"),
        "{}",
        errors[0]
    );
    assert!(
        errors[1].starts_with("passed on 5.10.262, below"),
        "{}",
        errors[1]
    );
}

#[test]
fn refusal_with_a_kernel_warning_is_not_ok() {
    let mut events = whole_run();
    let Event::Finished { result, .. } = &mut events[4] else {
        panic!("no result")
    };
    result.splat = Some("WARNING: CPU: 0\nCall Trace:".into());
    let report = run(&events, &Ending::Done);
    assert_eq!(report.scenarios[1].verdict, ScenarioVerdict::NotOk);
    let error = report.scenarios[1].error.as_deref();
    assert_eq!(
        error,
        Some("refused, but the kernel printed: WARNING: CPU: 0")
    );
    assert_eq!(report.verdict, KernelVerdict::NotOk);
}

#[test]
fn every_not_ok_result_has_a_reason() {
    let mut events = whole_run();
    let mut broken = finished("attach", Outcome::Failed);
    let Event::Finished { result, .. } = &mut broken else {
        panic!("no result")
    };
    result.error = None;
    events[2] = broken;
    let report = run(&events, &Ending::Done);
    assert_eq!(
        report.scenarios[0].error.as_deref(),
        Some("no reason was given")
    );
}

#[test]
fn all_scenarios_skipped_is_infra() {
    let mut events = vec![ready()];
    events.extend(planned().iter().map(|p| finished(&p.id, Outcome::Skipped)));
    events.push(Event::Done { scenarios: 3 });
    let report = run(&events, &Ending::Done);
    assert_eq!(report.verdict, KernelVerdict::Infra);
    assert!(report.error.unwrap().contains("all were skipped"));
}

#[test]
fn a_kernel_that_was_never_run_lists_every_scenario_as_unknown() {
    let scenarios = none_reached(&planned(), None, "no network");
    assert_eq!(scenarios.len(), 3);
    assert!(
        scenarios
            .iter()
            .all(|s| s.verdict == ScenarioVerdict::Unknown)
    );
    assert_eq!(
        scenarios[0].error.as_deref(),
        Some("not reached: no network")
    );
}

/// A whole run on 5.10, with `change` made to the result of `cookie`, whose minimum is 5.19.
fn with_cookie(outcome: Outcome, change: impl FnOnce(&mut ScenarioResult)) -> ScenarioReport {
    let Event::Finished { mut result, .. } = finished("cookie", outcome) else {
        unreachable!("it is finished")
    };
    change(&mut result);
    let events = [
        ready(),
        started("cookie"),
        Event::Finished {
            scenario: "cookie".into(),
            result,
        },
        Event::Done { scenarios: 1 },
    ];
    let report = run(&events, &Ending::Done);
    report
        .scenarios
        .into_iter()
        .find(|scenario| scenario.id == "cookie")
        .unwrap()
}

#[test]
fn passing_below_the_minimum_is_a_wrong_claim_unless_the_kernel_shows_the_feature() {
    let claimed_too_late = with_cookie(Outcome::Passed, |_| {});
    assert_eq!(claimed_too_late.verdict, ScenarioVerdict::NotOk);
    let carried_back = with_cookie(Outcome::Passed, |result| result.backported = true);
    assert_eq!(carried_back.verdict, ScenarioVerdict::Ok);
    assert_eq!(carried_back.expected, Some(Expected::Passed));
}

#[test]
fn refusal_that_names_another_feature_proves_nothing() {
    assert_eq!(
        with_cookie(Outcome::Unsupported, |_| {}).verdict,
        ScenarioVerdict::Ok
    );
    let other = with_cookie(Outcome::Unsupported, |result| {
        result.refusal = Some(Refusal {
            feature: "fsession".into(),
            minimum: "7.0".into(),
        });
    });
    assert_eq!(other.verdict, ScenarioVerdict::NotOk);
    assert!(other.error.unwrap().contains("for want of fsession"));
}

#[test]
fn below_the_fexit_minimum_a_refusal_may_name_fexit() {
    let mut refused = finished("cookie", Outcome::Unsupported);
    if let Event::Finished { result, .. } = &mut refused {
        result.refusal = Some(Refusal {
            feature: "fexit".into(),
            minimum: "5.5".into(),
        });
    }
    for (version, verdict) in [
        ("5.4.273", ScenarioVerdict::Ok),
        ("5.10.262", ScenarioVerdict::NotOk),
    ] {
        let mut report = KernelReport::default();
        let mut observed = Observed::new(&planned(), version.parse().ok());
        observed.event(&ready());
        observed.event(&refused);
        observed.vm_ended(&Ending::Done, &LastWords::default());
        observed.conclude(&mut report);
        assert_eq!(
            report.scenario("cookie").unwrap().verdict,
            verdict,
            "{version}"
        );
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
        let mut report = KernelReport::default();
        let mut observed = Observed::new(std::slice::from_ref(&planned), "4.18.0".parse().ok());
        observed.event(&ready());
        observed.event(&finished("cookie", outcome));
        observed.event(&Event::Done { scenarios: 1 });
        observed.vm_ended(&Ending::Done, &LastWords::default());
        observed.conclude(&mut report);
        let cookie = report.scenario("cookie").unwrap();
        assert_eq!((cookie.verdict, &cookie.minimum), (verdict, &None));
        assert_eq!(cookie.expected, Some(Expected::Passed));
    }
}

#[test]
fn pass_below_the_minimum_counts_as_backported_on_a_distribution_kernel() {
    let mut early = finished("cookie", Outcome::Passed);
    if let Event::Finished { result, .. } = &mut early {
        result.backported = true;
    }
    for (upstream, verdict) in [(false, ScenarioVerdict::Ok), (true, ScenarioVerdict::NotOk)] {
        let mut report = KernelReport::default();
        let mut observed = Observed::new(&planned(), "5.10.262".parse().ok()).upstream(upstream);
        observed.event(&ready());
        observed.event(&early);
        observed.vm_ended(&Ending::Done, &LastWords::default());
        observed.conclude(&mut report);
        let cookie = report.scenario("cookie").unwrap();
        assert_eq!((cookie.verdict, cookie.backported), (verdict, !upstream));
    }
}

/// What is heard of several VMs, one after the other.
fn vms(vms: &[(&[Event], Ending)]) -> (Observed, KernelReport) {
    let new = || Observed::new(&planned(), "5.10.262".parse().ok());
    let heard = |mut observed: Observed| {
        for (events, ending) in vms {
            observed.vm_started();
            events.iter().for_each(|event| observed.event(event));
            observed.vm_ended(ending, &LastWords::default());
        }
        observed
    };
    let mut report = KernelReport::default();
    heard(new()).conclude(&mut report);
    (heard(new()), report)
}

fn panicked() -> Ending {
    Ending::Panicked("at last".into())
}

fn ids(scenarios: &[Scenario]) -> Vec<&str> {
    scenarios
        .iter()
        .map(|scenario| scenario.id.as_str())
        .collect()
}

#[test]
fn a_crash_costs_the_result_of_the_scenario_that_ran_alone_and_no_other() {
    let first = [
        ready(),
        started("attach"),
        finished("attach", Outcome::Passed),
        started("cookie"),
    ];
    let (observed, _) = vms(&[(&first, panicked())]);
    assert_eq!(ids(&observed.rest()), ["unload"]);
    let second = [
        ready(),
        started("unload"),
        finished("unload", Outcome::Passed),
        Event::Done { scenarios: 1 },
    ];
    let (_, report) = vms(&[(&first, panicked()), (&second, Ending::Done)]);
    assert_eq!(
        outcomes(&report),
        [Outcome::Passed, Outcome::Panicked, Outcome::Passed]
    );
    assert_eq!(
        (report.verdict, report.error.as_deref()),
        (KernelVerdict::NotOk, None)
    );
}

#[test]
fn of_several_that_ran_in_a_crash_each_is_tried_again_alone() {
    let crowd = [ready(), started("attach"), started("cookie")];
    let (observed, report) = vms(&[(&crowd, panicked())]);
    assert_eq!(ids(&observed.rest()), ["attach", "cookie", "unload"]);
    // Without a second try each answers for it.
    let suspects = [Outcome::Panicked, Outcome::Panicked, Outcome::Skipped];
    assert_eq!(outcomes(&report), suspects);

    let alone = [
        ready(),
        started("attach"),
        finished("attach", Outcome::Passed),
        started("cookie"),
    ];
    let rest = [
        ready(),
        started("unload"),
        finished("unload", Outcome::Passed),
        Event::Done { scenarios: 1 },
    ];
    let (_, report) = vms(&[
        (&crowd, panicked()),
        (&alone, panicked()),
        (&rest, Ending::Done),
    ]);
    assert_eq!(
        outcomes(&report),
        [Outcome::Passed, Outcome::Panicked, Outcome::Passed]
    );
    assert_eq!(report.error, None);
}

#[test]
fn a_crash_that_does_not_come_back_is_the_fault_of_the_kernel_as_a_whole() {
    let crowd = [ready(), started("attach"), started("cookie")];
    let (_, report) = vms(&[(&crowd, panicked()), (&whole_run(), Ending::Done)]);
    assert_eq!(report.count(ScenarioVerdict::Ok), 3);
    assert_eq!(report.verdict, KernelVerdict::NotOk);
    let error = report.error.unwrap();
    assert!(
        error.starts_with("the kernel panicked while attach, cookie ran: at last")
            && error.contains("did not come back"),
        "{error}"
    );
}

#[test]
fn what_went_wrong_beside_others_before_a_crash_is_tried_again() {
    let crowd = [
        ready(),
        started("attach"),
        started("cookie"),
        finished("attach", Outcome::Failed),
    ];
    let (observed, _) = vms(&[(&crowd, panicked())]);
    assert_eq!(ids(&observed.rest()), ["attach", "cookie", "unload"]);
    let (_, report) = vms(&[(&crowd, panicked()), (&whole_run(), Ending::Done)]);
    assert_eq!(outcomes(&report)[0], Outcome::Passed);
}

#[test]
fn a_failure_of_the_infrastructure_keeps_what_was_heard_and_blames_nobody() {
    let first = [
        ready(),
        started("attach"),
        finished("attach", Outcome::Passed),
        started("cookie"),
    ];
    let killed = || Ending::Infra("QEMU was killed".into());
    let (observed, report) = vms(&[(&first, killed())]);
    assert_eq!(ids(&observed.rest()), ["cookie", "unload"]);
    assert_eq!(report.scenarios[1].verdict, ScenarioVerdict::Unknown);
    let (_, report) = vms(&[(&first, killed()), (&whole_run()[3..], Ending::Done)]);
    assert_eq!(report.count(ScenarioVerdict::Ok), 3);
}

#[test]
fn the_words_of_the_console_come_with_the_outcome() {
    let words = |reports: Option<&str>| LastWords {
        reports: reports.map(str::to_owned),
        tail: vec!["the last line".into()],
    };
    for (reports, error) in [
        (Some("BUG: here"), "no output for 9 s"),
        (
            None,
            "no output for 9 s\nThe last lines of the console:\nthe last line",
        ),
    ] {
        let mut observed = Observed::new(&planned(), None);
        let mut report = KernelReport::default();
        observed.event(&ready());
        observed.event(&started("attach"));
        let ending = Ending::TimedOut("no output for 9 s".into());
        observed.vm_ended(&ending, &words(reports));
        observed.conclude(&mut report);
        let attach = &report.scenarios[0];
        assert_eq!(attach.outcome, Outcome::TimedOut);
        assert_eq!(attach.splat.as_deref(), reports);
        assert_eq!(attach.error.as_deref(), Some(error));
    }
}

#[test]
fn warnings_of_the_guest_are_bounded() {
    let warning = Event::Warning {
        message: "no such module".into(),
    };
    let report = run(&vec![warning; 100_000], &Ending::Done);
    assert_eq!(report.warnings.len(), WARNINGS + 1);
    let last = report.warnings.last().unwrap();
    assert_eq!(last, "the guest sent 99800 warnings more");
}
