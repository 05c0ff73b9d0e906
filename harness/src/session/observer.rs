//! Listening to one VM: what it says goes to the board at once, and to the report at the end.

use std::{collections::HashSet, time::Instant};

use protocol::{event::Event, job::LOG_MARK};

use crate::{
    kernels::Source,
    report::{
        KernelReport, KernelVerdict, ScenarioVerdict,
        observed::{Ending, Observed},
        program::Heard,
        terminal::Line,
    },
    session::kernel_run::ms,
    session::plan::Plan,
    support::interrupt::INTERRUPTED,
    vm::{self, Finished, Severity, VmEvent},
};

/// Lines of the console that the report keeps when something is not ok.
const CONSOLE_TAIL: usize = 40;

/// A boot that has more to complain about is not remembered line by line.
const BOOT_MESSAGES: usize = 2000;

/// Listens to one VM.
pub(crate) struct Watch<'a> {
    observed: Observed,
    programs: Heard,
    line: &'a Line,
    started: Instant,
    ready: Option<Instant>,
    /// When the first scenario or program began.
    begun: Option<Instant>,
    count: usize,
    of: usize,
    boot_messages: HashSet<String>,
    marked: bool,
    /// Whether a scenario or program has come to its end.
    has_result: bool,
    /// Why the guest could not do anything that it was asked to.
    unable: Option<String>,
    garbage: Vec<String>,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(plan: &Plan, report: &KernelReport, line: &'a Line) -> Self {
        let version = report
            .version
            .as_deref()
            .and_then(|version| version.parse().ok());
        let source = report.source.as_ref();
        let upstream = source.is_some_and(Source::is_upstream);
        Self {
            observed: Observed::new(&plan.planned, version).upstream(upstream),
            programs: Heard::new(&plan.programs),
            line,
            started: Instant::now(),
            ready: None,
            begun: None,
            count: 0,
            of: plan.planned.len() + plan.programs.planned().len(),
            boot_messages: HashSet::new(),
            marked: false,
            has_result: false,
            unable: None,
            garbage: Vec::new(),
        }
    }

    pub(crate) fn take(&mut self, event: VmEvent) {
        match event {
            VmEvent::Guest(event) => self.guest(&event),
            VmEvent::Console(text) => {
                self.line.detail(&text);
                self.marked |= text.contains(LOG_MARK);
                if self.ready.is_none() && self.boot_messages.len() < BOOT_MESSAGES {
                    self.boot_messages.insert(text);
                }
            }
            VmEvent::Garbage { line, reason } => {
                self.garbage.push(format!(
                    "the guest sent what is no event ({reason}): {line}"
                ));
            }
        }
    }

    /// Whether the guest has reported that it runs.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.is_some()
    }

    fn guest(&mut self, event: &Event) {
        let again = matches!(event, Event::Started { scenario } if self.observed.knows(scenario));
        self.observed.event(event);
        if let Some(program) = self.programs.event(event) {
            self.line.program_finished(&program);
        }
        if let Event::Started { .. } | Event::ProgramStarted { .. } = event {
            self.begun.get_or_insert_with(Instant::now);
        }
        if let Event::Finished { .. } | Event::ProgramFinished { .. } = event {
            self.has_result = true;
        }
        match event {
            Event::Ready { .. } => self.ready = Some(Instant::now()),
            Event::Warning { message } => self.line.note(message),
            Event::CannotGoOn { message } if self.has_result => {
                self.line
                    .note(&format!("the guest cannot go on: {message}"));
            }
            Event::CannotGoOn { message } => self.unable = Some(message.clone()),
            Event::Started { scenario } => {
                self.count += usize::from(!again);
                self.line.scenario(scenario, self.count, self.of);
            }
            Event::ProgramStarted { program, .. } => {
                self.count += 1;
                self.line.scenario(program, self.count, self.of);
            }
            Event::Finished { scenario, .. } => {
                if let Some(judged) = self.observed.judged(scenario) {
                    self.line.finished(&judged);
                }
            }
            _ => {}
        }
    }

    /// Puts everything into the report. What was heard counts, also if the harness could not stay to the end.
    pub(crate) fn conclude(
        self,
        finished: Result<&Finished, &anyhow::Error>,
        report: &mut KernelReport,
    ) {
        let end = Instant::now();
        report.phases_ms.boot = self.ready.map(|ready| ms(ready - self.started));
        let setup = self.ready.zip(self.begun);
        report.phases_ms.setup = setup.map(|(ready, begun)| ms(begun - ready));
        report.phases_ms.scenarios = self.ready.map(|ready| ms(end - ready));
        let running = self.observed.running().to_vec();
        let ending = match (finished, self.unable) {
            (Ok(_), Some(why)) => {
                Ending::Infra(format!("the guest cannot work on this kernel: {why}"))
            }
            (Ok(finished), None) => ending(&finished.ending),
            (Err(error), _) => Ending::Infra(format!("{error:#}")),
        };
        self.observed.conclude(&ending, report);
        self.programs.conclude(&ending, report);
        for cut_off in running.iter().filter_map(|id| report.scenario(id)) {
            self.line.finished(cut_off);
        }
        report.warnings.extend(self.garbage);
        report.console_tail.clear(); // of an earlier attempt
        let Ok(finished) = finished else { return };
        splats(finished, &self.boot_messages, report);
        if finished.ending == vm::Ending::Done && !self.marked {
            complain(
                report,
                "the console did not carry what the kernel logs: its complaints would have gone unseen",
            );
        }
        if report.verdict != KernelVerdict::Ok {
            report.console_tail = finished.console.last_lines(CONSOLE_TAIL);
        }
    }
}

fn ending(ending: &vm::Ending) -> Ending {
    let words = ending.to_string();
    match ending {
        vm::Ending::Done => Ending::Done,
        vm::Ending::KernelPanic { message } => Ending::Panicked(message.clone()),
        vm::Ending::EndedEarly | vm::Ending::Flooded { .. } => Ending::Broke(words),
        vm::Ending::TimedOut { .. } | vm::Ending::Silent { .. } => Ending::TimedOut(words),
        vm::Ending::QemuFailed { .. } | vm::Ending::Lost { .. } => Ending::Infra(words),
        vm::Ending::Interrupted => Ending::Infra(INTERRUPTED.to_owned()),
    }
}

/// What the kernel complained about and no scenario answers for.
fn splats(finished: &Finished, boot_messages: &HashSet<String>, report: &mut KernelReport) {
    for splat in finished.console.splats() {
        let at_boot = splat
            .lines
            .first()
            .is_some_and(|line| boot_messages.contains(line));
        let scenarios = report.scenarios.iter().map(|s| (s.verdict, &s.splat));
        let programs = report.programs.iter().map(|p| (p.verdict, &p.result.splat));
        let claimed = scenarios.chain(programs).any(|(verdict, text)| {
            let text = text.as_deref().unwrap_or_default();
            verdict == ScenarioVerdict::NotOk && text.contains(&splat.message)
        });
        if claimed || splat.severity == Severity::Panic {
            continue;
        }
        let when = if at_boot { " at boot" } else { "" };
        let complaint = format!("{}{when}: {}", splat.meaning, splat.message);
        match splat.severity {
            Severity::Stall => report.warnings.push(complaint),
            // A warning that comes before fexit has done anything says nothing about it.
            Severity::Warning if at_boot => report.warnings.push(complaint),
            _ => complain(report, &complaint),
        }
    }
}

/// Something is wrong with the kernel as a whole.
fn complain(report: &mut KernelReport, complaint: &str) {
    report.verdict = KernelVerdict::NotOk;
    report.error.get_or_insert_with(|| complaint.to_owned());
}

#[cfg(test)]
mod tests;
