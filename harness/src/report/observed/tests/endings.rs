//! One VM: what its events and its end come to.

use super::*;
use crate::report::verdict::ScenarioVerdict;

#[test]
fn complete_run_is_ok() {
    let report = run(&complete_run(), &Ending::Done);
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
    let complete = complete_run();
    for ending in &endings {
        for count in 0..complete.len() {
            let report = run(&complete[..count], ending);
            let outcomes = outcomes(&report);
            let kept = outcomes.iter().filter(|o| **o == Outcome::Passed).count();
            assert_eq!(kept, usize::from(count >= 3) + usize::from(count >= 7));
            // If all others have results, the last scenario has the error.
            let has_own = count == 6 && !matches!(ending, Ending::Infra(_));
            assert_eq!(report.error.is_none(), has_own, "{ending:?} after {count}");
            let infra = count == 0 || matches!(ending, Ending::Infra(_));
            let verdict = if infra {
                KernelVerdict::Infra
            } else {
                KernelVerdict::NotOk
            };
            assert_eq!(report.verdict, verdict, "{ending:?} after {count}");
        }
    }
}

#[test]
fn running_scenario_gets_the_outcome_and_later_ones_are_not_reached() {
    for (ending, outcome) in [
        (Ending::Broke("x".into()), Outcome::Failed),
        (Ending::Panicked("x".into()), Outcome::Panicked),
        (Ending::TimedOut("x".into()), Outcome::TimedOut),
        (Ending::Infra("x".into()), Outcome::Skipped),
    ] {
        let report = run(&complete_run()[..4], &ending); // cookie has started
        assert_eq!(
            outcomes(&report),
            [Outcome::Passed, outcome, Outcome::Skipped]
        );
        let verdicts: Vec<_> = report.scenarios.iter().map(|s| s.verdict).collect();
        let of_running = match ending {
            Ending::Infra(_) => ScenarioVerdict::Unknown,
            _ => ScenarioVerdict::NotOk,
        };
        assert_eq!(
            verdicts,
            [ScenarioVerdict::Ok, of_running, ScenarioVerdict::Unknown]
        );
        let last = report.scenarios[2].error.as_deref().unwrap();
        assert!(last.starts_with("not reached: "), "{last}");
    }
}

#[test]
fn panic_after_done_is_not_ok() {
    let report = run(&complete_run(), &Ending::Panicked("late".into()));
    assert_eq!(report.verdict, KernelVerdict::NotOk);
    assert_eq!(
        report.error.as_deref(),
        Some("the kernel panicked after the last scenario: late")
    );
}

#[test]
fn unreported_scenario_is_not_ok() {
    let mut events = complete_run();
    events.drain(3..5);
    let report = run(&events, &Ending::Done);
    assert_eq!(report.scenarios[1].outcome, Outcome::Skipped);
    assert_ne!(report.verdict, KernelVerdict::Ok);
    assert!(report.error.unwrap().contains("did not report cookie"));
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
fn kernel_that_was_not_run_lists_every_scenario_as_unknown() {
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

#[test]
fn console_output_is_added_to_the_result() {
    let console = |splats: Option<&str>| ConsoleExcerpt {
        splats: splats.map(str::to_owned),
        tail: vec!["the last line".into()],
    };
    for (splats, error) in [
        (Some("BUG: here"), "no output for 9 s"),
        (
            None,
            "no output for 9 s\nThe last lines of the console:\nthe last line",
        ),
    ] {
        let mut observed = on_5_10();
        let mut report = KernelReport::default();
        observed.event(&ready());
        observed.event(&started("attach"));
        let ending = Ending::TimedOut("no output for 9 s".into());
        observed.vm_ended(&ending, &console(splats));
        observed.conclude(&mut report);
        let attach = &report.scenarios[0];
        assert_eq!(attach.outcome, Outcome::TimedOut);
        assert_eq!(attach.splat.as_deref(), splats);
        assert_eq!(attach.error.as_deref(), Some(error));
    }
}

#[test]
fn warnings_of_the_guest_are_bounded() {
    let warning = Event::Warning {
        message: "no such module".into(),
    };
    let report = run(&vec![warning; 100_000], &Ending::Done);
    assert_eq!(report.warnings.len(), MAX_WARNINGS + 1);
    let last = report.warnings.last().unwrap();
    assert_eq!(last, "the guest sent 99800 more warnings");
}
