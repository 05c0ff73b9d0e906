//! What the console says, held against what the scenarios say.

use std::time::Duration;

use protocol::event::{Outcome, ScenarioResult};

use super::*;
use crate::{
    initramfs::bpf_objects::Programs,
    report::{terminal::Board, testing::planned},
    vm::Console,
};

fn result(outcome: Outcome, splat: Option<&str>) -> ScenarioResult {
    ScenarioResult {
        outcome,
        duration_us: 1,
        error: None,
        refusal: None,
        backported: false,
        measurements: [].into(),
        splat: splat.map(str::to_owned),
    }
}

/// The report on a kernel that printed `boot` before `ready` and `later` after it, and whose scenarios went like this.
fn report(boot: &str, later: &str, results: [ScenarioResult; 2]) -> KernelReport {
    let mut report = KernelReport {
        version: Some("6.1.9".into()),
        ..KernelReport::default()
    };
    let plan = Plan {
        planned: ["attach", "detach"]
            .map(|id| planned(id, "fexit", (5, 5)))
            .to_vec(),
        programs: Programs::default(),
    };
    let line = Board::new(false).line("test");
    let tasks = Tasks::new(&plan, None, false);
    let mut watch = Watch::new(&plan, &report, &line, false, tasks);
    watch.vm_started("the command");
    let print = |watch: &mut Watch<'_>, text: &str| {
        text.lines()
            .for_each(|line| watch.take(VmEvent::Console(line.to_owned())));
    };
    print(&mut watch, boot);
    watch.take(VmEvent::Guest(Event::Ready {
        release: "6.1.9".into(),
        uptime_us: 1,
    }));
    print(&mut watch, later);
    for (scenario, result) in plan.planned.iter().zip(results) {
        let scenario = scenario.id.to_owned();
        watch.take(VmEvent::Guest(Event::Finished { scenario, result }));
    }
    watch.take(VmEvent::Guest(Event::Done { scenarios: 2 }));
    let finished = Finished {
        ending: vm::Ending::Done,
        console: Console::of(&format!("{boot}\n{later}\n")),
        stderr: String::new(),
        garbage: 0,
        elapsed: Duration::from_secs(1),
        command: String::new(),
    };
    watch.vm_ended(Ok(&finished));
    watch.conclude(&mut report);
    report
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
        Some(
            "the console did not carry what the kernel logs: kernel warnings would have been missed",
        ),
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
    let complaint = "WARNING: CPU: 0 PID: 1 at here";
    let unclaimed = Some("the kernel warned: WARNING: CPU: 0 PID: 1 at here");
    is(
        &report("", &later, passed()),
        KernelVerdict::NotOk,
        unclaimed,
    );
    let [first, _] = passed();
    let skipped = result(Outcome::Skipped, Some(complaint));
    is(
        &report("", &later, [first.clone(), skipped]),
        KernelVerdict::NotOk,
        unclaimed,
    );
    let claimed = report("", &later, [first, result(Outcome::Splat, Some(complaint))]);
    is(&claimed, KernelVerdict::NotOk, None);
}

#[test]
fn guest_that_cannot_start_is_infra() {
    for (results, verdict) in [(0, KernelVerdict::Infra), (1, KernelVerdict::NotOk)] {
        let mut report = KernelReport {
            version: Some("4.18.0".into()),
            ..KernelReport::default()
        };
        let plan = Plan {
            planned: ["attach", "detach"]
                .map(|id| planned(id, "fexit", (4, 18)))
                .to_vec(),
            programs: Programs::default(),
        };
        let line = Board::new(false).line("test");
        let tasks = Tasks::new(&plan, None, false);
        let mut watch = Watch::new(&plan, &report, &line, false, tasks);
        watch.vm_started("the command");
        watch.take(VmEvent::Guest(Event::Ready {
            release: "4.18.0".into(),
            uptime_us: 1,
        }));
        for (scenario, result) in plan.planned.iter().zip(passed()).take(results) {
            let scenario = scenario.id.clone();
            watch.take(VmEvent::Guest(Event::Finished { scenario, result }));
        }
        watch.take(VmEvent::Guest(Event::Started {
            scenario: "detach".into(),
        }));
        watch.take(VmEvent::Guest(Event::CannotGoOn {
            message: "no such call".into(),
        }));
        let finished = Finished {
            ending: vm::Ending::EndedEarly,
            console: Console::of(""),
            stderr: String::new(),
            garbage: 0,
            elapsed: Duration::from_secs(1),
            command: String::new(),
        };
        watch.vm_ended(Ok(&finished));
        watch.conclude(&mut report);
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
fn what_is_about_nothing_that_was_planned_is_no_event_and_takes_no_memory() {
    let plan = Plan {
        planned: vec![planned("attach", "fexit", (5, 5))],
        programs: Programs::named(&["a"]),
    };
    let mut report = KernelReport::default();
    let line = Board::new(false).line("test");
    let tasks = Tasks::new(&plan, None, false);
    let mut watch = Watch::new(&plan, &report, &line, false, tasks);
    watch.vm_started("the command");
    watch.take(VmEvent::Guest(Event::Ready {
        release: "6.1.9".into(),
        uptime_us: 1,
    }));
    for number in 0..100_000 {
        let scenario = format!("forged_{number}");
        watch.take(VmEvent::Guest(Event::Started { scenario }));
        let program = format!("forged_{number}");
        watch.take(VmEvent::Guest(Event::ProgramStarted { index: 0, program }));
    }
    assert_eq!(watch.observed.running_now(), [""; 0]);
    assert_eq!(watch.deadline(), None);
    let scenario = "attach".to_owned();
    watch.take(VmEvent::Guest(Event::Started { scenario }));
    assert_eq!(watch.observed.running_now(), ["attach"]);
    assert!(watch.deadline().is_some());
    watch.conclude(&mut report);
    assert_eq!(report.warnings.len(), GARBAGE_LINES);
    assert_eq!(report.programs[0].verdict, ScenarioVerdict::Unknown);
}
