//! The console and the events of a VM, and the report that they lead to.

use std::time::Duration;

use protocol::{
    event::{Outcome, ScenarioResult},
    job::LOG_MARK,
};

use super::*;
use crate::{
    initramfs::bpf_objects::Programs,
    report::{ScenarioVerdict, terminal::Board, testing::planned},
    vm::{self, Console, Finished},
};

fn result(outcome: Outcome, splat: Option<&str>) -> ScenarioResult {
    let mut result = ScenarioResult::new(outcome, None);
    result.splat = splat.map(str::to_owned);
    result
}

/// Runs `vm` with the observer of a VM that has started, and returns it with the report.
fn observe(
    scenarios: &[&str],
    programs: Programs,
    vm: impl FnOnce(&mut Watch<'_>),
) -> KernelReport {
    let mut report = KernelReport {
        version: Some("6.1.9".into()),
        ..KernelReport::default()
    };
    let planned = scenarios.iter().map(|id| planned(id, "fexit", (5, 5)));
    let plan = Plan {
        planned: planned.collect(),
        programs,
    };
    let line = Board::new(false).line("test");
    let tasks = Tasks::new(&plan, None, false);
    let mut watch = Watch::new(&plan, &report, &line, false, tasks);
    watch.vm_started("the command");
    vm(&mut watch);
    watch.conclude(&mut report);
    report
}

fn ready() -> VmEvent {
    VmEvent::Guest(Event::Ready {
        release: "6.1.9".into(),
        uptime_us: 1,
    })
}

fn started(scenario: &str) -> VmEvent {
    let scenario = scenario.to_owned();
    VmEvent::Guest(Event::Started { scenario })
}

fn finished(scenario: &str, result: ScenarioResult) -> VmEvent {
    let scenario = scenario.to_owned();
    VmEvent::Guest(Event::Finished { scenario, result })
}

fn end(watch: &mut Watch<'_>, ending: vm::Ending, console: &str) {
    watch.vm_ended(Ok(&Finished {
        ending,
        console: Console::of(console),
        stderr: String::new(),
        garbage: 0,
        elapsed: Duration::from_secs(1),
        command: String::new(),
    }));
}

/// The report on a kernel that printed `boot` before the first event and `later` after it, with these results.
fn report(boot: &str, later: &str, results: [ScenarioResult; 2]) -> KernelReport {
    observe(&["attach", "detach"], Programs::default(), |watch| {
        let print = |watch: &mut Watch<'_>, text: &str| {
            let lines = text.lines().map(str::to_owned);
            lines.for_each(|line| watch.take(VmEvent::Console(line)));
        };
        print(watch, boot);
        watch.take(ready());
        print(watch, later);
        for (id, result) in ["attach", "detach"].into_iter().zip(results) {
            watch.take(finished(id, result));
        }
        watch.take(VmEvent::Guest(Event::Done { scenarios: 2 }));
        end(watch, vm::Ending::Done, &format!("{boot}\n{later}\n"));
    })
}

fn passed() -> [ScenarioResult; 2] {
    [(); 2].map(|()| result(Outcome::Passed, None))
}

#[track_caller]
fn is(report: &KernelReport, verdict: KernelVerdict, error: Option<&str>) {
    assert_eq!(
        (report.verdict, report.error.as_deref()),
        (verdict, error),
        "{report:?}"
    );
    assert_eq!(report.console_tail.is_empty(), verdict == KernelVerdict::Ok);
}

const OOPS: &str = "[    1.0] BUG: kernel NULL pointer dereference, address: 0";
const WARN: &str = "[    1.0] WARNING: CPU: 0 PID: 1 at here";

#[test]
fn missing_console_output_is_ok_only_if_the_console_works() {
    is(&report("", LOG_MARK, passed()), KernelVerdict::Ok, None);
    is(
        &report("", "something else", passed()),
        KernelVerdict::NotOk,
        Some("the console did not carry the kernel's log: kernel warnings may be missing"),
    );
}

#[test]
fn oops_at_boot_is_not_ok_and_warning_at_boot_is_reported() {
    is(
        &report(OOPS, LOG_MARK, passed()),
        KernelVerdict::NotOk,
        Some("the kernel hit a bug at boot: BUG: kernel NULL pointer dereference, address: 0"),
    );
    let warned = report(WARN, LOG_MARK, passed());
    is(&warned, KernelVerdict::Ok, None);
    assert_eq!(
        warned.warnings,
        ["the kernel warned at boot: WARNING: CPU: 0 PID: 1 at here"]
    );
}

#[test]
fn console_splat_is_explained_only_by_a_not_ok_scenario() {
    let later = format!("{LOG_MARK}\n{WARN}");
    let warning = "WARNING: CPU: 0 PID: 1 at here";
    let unexplained = Some("the kernel warned: WARNING: CPU: 0 PID: 1 at here");
    is(
        &report("", &later, passed()),
        KernelVerdict::NotOk,
        unexplained,
    );
    let [first, _] = passed();
    let skipped = result(Outcome::Skipped, Some(warning));
    is(
        &report("", &later, [first.clone(), skipped]),
        KernelVerdict::NotOk,
        unexplained,
    );
    let explained = report("", &later, [first, result(Outcome::Splat, Some(warning))]);
    is(&explained, KernelVerdict::NotOk, None);
}

#[test]
fn guest_that_cannot_start_is_infra() {
    for (results, verdict) in [(0, KernelVerdict::Infra), (1, KernelVerdict::NotOk)] {
        let report = observe(&["attach", "detach"], Programs::default(), |watch| {
            watch.take(ready());
            if results == 1 {
                watch.take(finished("attach", result(Outcome::Passed, None)));
            }
            watch.take(started("detach"));
            watch.take(VmEvent::Guest(Event::CannotGoOn {
                message: "no such call".into(),
            }));
            end(watch, vm::Ending::EndedEarly, "");
        });
        assert_eq!(report.verdict, verdict, "{report:?}");
        let infra = verdict == KernelVerdict::Infra;
        let error = report.error.unwrap_or_default();
        assert_eq!(error.contains("no such call"), infra, "{error}");
        let judged = report.scenarios.iter();
        let judged = judged.filter(|s| s.verdict != ScenarioVerdict::Unknown);
        assert_eq!(judged.count(), 2 * results);
    }
}

#[test]
fn events_about_unplanned_names_are_ignored_and_bounded() {
    let report = observe(&["attach"], Programs::named(&["a"]), |watch| {
        watch.take(ready());
        for number in 0..100_000 {
            let program = format!("forged_{number}");
            watch.take(started(&program));
            watch.take(VmEvent::Guest(Event::ProgramStarted { index: 0, program }));
        }
        assert_eq!(watch.observed.running_names(), [""; 0]);
        assert_eq!(watch.deadline(), None);
        watch.take(started("attach"));
        assert_eq!(watch.observed.running_names(), ["attach"]);
        assert!(watch.deadline().is_some());
    });
    assert_eq!(report.warnings.len(), MAX_INVALID_LINES);
    assert_eq!(report.programs[0].verdict, ScenarioVerdict::Unknown);
}
