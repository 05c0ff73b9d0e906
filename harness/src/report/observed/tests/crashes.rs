//! A series of VMs of one kernel.

use super::*;
use crate::report::verdict::ScenarioVerdict;

/// The state and the report after VMs that sent these events and ended so.
fn vms(vms: &[(&[Event], Ending)]) -> (Observed, KernelReport) {
    let after = || {
        let mut observed = on_5_10();
        for (events, ending) in vms {
            observed.vm_started();
            events.iter().for_each(|event| observed.event(event));
            observed.vm_ended(ending, &ConsoleExcerpt::default());
        }
        observed
    };
    let mut report = KernelReport::default();
    after().conclude(&mut report);
    (after(), report)
}

fn panicked() -> Ending {
    Ending::Panicked("at last".into())
}

/// The ids of the scenarios that are left to run.
fn rest(observed: &Observed) -> Vec<String> {
    let rest = observed.rest().into_iter();
    rest.map(|scenario| scenario.id).collect()
}

/// A VM in which `attach` passes, and that ends while `cookie` runs.
fn ends_in_cookie() -> [Event; 4] {
    [
        ready(),
        started("attach"),
        finished("attach", Outcome::Passed),
        started("cookie"),
    ]
}

/// A VM in which `unload` passes.
fn only_unload() -> [Event; 4] {
    [
        ready(),
        started("unload"),
        finished("unload", Outcome::Passed),
        Event::Done { scenarios: 1 },
    ]
}

#[test]
fn crash_costs_only_the_result_of_the_scenario_that_ran_serially() {
    let first = ends_in_cookie();
    let (observed, _) = vms(&[(&first, panicked())]);
    assert_eq!(rest(&observed), ["unload"]);
    let (_, report) = vms(&[(&first, panicked()), (&only_unload(), Ending::Done)]);
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
fn scenarios_that_ran_in_parallel_in_a_crash_run_again_serially() {
    let parallel = [ready(), started("attach"), started("cookie")];
    let (observed, report) = vms(&[(&parallel, panicked())]);
    assert_eq!(rest(&observed), ["attach", "cookie", "unload"]);
    // Without a second run the crash is the outcome of each.
    let first = [Outcome::Panicked, Outcome::Panicked, Outcome::Skipped];
    assert_eq!(outcomes(&report), first);

    let (_, report) = vms(&[
        (&parallel, panicked()),
        (&ends_in_cookie(), panicked()),
        (&only_unload(), Ending::Done),
    ]);
    assert_eq!(
        outcomes(&report),
        [Outcome::Passed, Outcome::Panicked, Outcome::Passed]
    );
    assert_eq!(report.error, None);
}

#[test]
fn parallel_crash_that_does_not_recur_is_an_error_of_the_kernel() {
    let parallel = [ready(), started("attach"), started("cookie")];
    let (_, report) = vms(&[(&parallel, panicked()), (&complete_run(), Ending::Done)]);
    assert_eq!(report.count(ScenarioVerdict::Ok), 3);
    assert_eq!(report.verdict, KernelVerdict::NotOk);
    let error = report.error.unwrap();
    assert!(
        error.starts_with("the kernel panicked while attach, cookie ran: at last")
            && error.contains("did not recur"),
        "{error}"
    );
}

#[test]
fn scenario_that_failed_in_parallel_before_a_crash_runs_again() {
    let parallel = [
        ready(),
        started("attach"),
        started("cookie"),
        finished("attach", Outcome::Failed),
    ];
    let (observed, _) = vms(&[(&parallel, panicked())]);
    assert_eq!(rest(&observed), ["attach", "cookie", "unload"]);
    let (_, report) = vms(&[(&parallel, panicked()), (&complete_run(), Ending::Done)]);
    assert_eq!(outcomes(&report)[0], Outcome::Passed);
}

#[test]
fn failure_of_the_infrastructure_keeps_results_and_fails_no_scenario() {
    let first = ends_in_cookie();
    let killed = || Ending::Infra("QEMU was killed".into());
    let (observed, report) = vms(&[(&first, killed())]);
    assert_eq!(rest(&observed), ["cookie", "unload"]);
    assert_eq!(report.scenarios[1].verdict, ScenarioVerdict::Unknown);
    let (_, report) = vms(&[(&first, killed()), (&complete_run()[3..], Ending::Done)]);
    assert_eq!(report.count(ScenarioVerdict::Ok), 3);
}
