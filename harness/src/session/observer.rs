//! Staying with the VMs of one kernel: what they tell goes to the board at once, and to the report at the end.

use std::{
    collections::HashSet,
    mem,
    time::{Duration, Instant},
};

use protocol::{event::Event, job::LOG_MARK, scenario::Scenario};

use crate::{
    initramfs::job::Rest,
    kernels::Source,
    report::{
        KernelReport, KernelVerdict, Restart, ScenarioVerdict, ms,
        observed::{Ending, LastWords, Observed},
        program::ObservedPrograms,
        terminal::Line,
    },
    session::{plan::Plan, tasks::Tasks},
    support::interrupt::INTERRUPTED,
    vm::{self, Finished, Observer, Severity, Splat, VmEvent},
};

/// Lines of the console that the report keeps when something is not ok, and that an error has in it.
const CONSOLE_TAIL: usize = 40;
const LAST_LINES: usize = 10;

/// The kernel's reports that a result has in it are cut here, in bytes.
const REPORTS: usize = 16 << 10;

/// So many lines that are no events are told of.
const GARBAGE_LINES: usize = 20;

/// How a VM came to its end, as far as it matters for what comes next.
pub(crate) enum VmEnd {
    /// The guest was done, or there is no use in another VM.
    Over,
    /// The kernel or the guest broke down.
    Crashed(Restart),
    /// The infrastructure failed.
    Infra(String),
}

/// Stays with the VMs of one kernel.
pub(crate) struct Watch<'a> {
    plan: &'a Plan,
    observed: Observed,
    programs: ObservedPrograms,
    tasks: Tasks,
    line: &'a Line,
    serial: bool,
    started: Instant,
    ready: Option<Instant>,
    /// Of the first VM: from its start to its first event, and from there to where the first scenario or program began.
    boot: Option<(Duration, Option<Duration>)>,
    /// When the first VM came to its first event.
    first_ready: Option<Instant>,
    count: usize,
    vm: InVm,
    /// What ran when the last VM ended, and may run again in the next.
    cut_off: Vec<String>,
    /// Whether a scenario or program has come to its end.
    has_result: bool,
    /// Why the guest could not do anything that it was asked to.
    unable: Option<String>,
    garbage: Vec<String>,
    /// What the kernel complained about; whether it did so at boot.
    complaints: Vec<(Splat, bool)>,
    /// Of the VM that the report shows: one that crashed rather than one that did not.
    evidence: Option<Evidence>,
    unmarked: bool,
}

/// What the VM sent that runs now.
#[derive(Debug, Default)]
struct InVm {
    rest: Vec<Scenario>,
    /// Lines of the console so far; so many when the first event came, and when something began to run.
    lines: usize,
    at_ready: Option<usize>,
    at_start: usize,
    marked: bool,
    command: String,
}

struct Evidence {
    tail: Vec<String>,
    command: String,
    cut_off: bool,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(
        plan: &'a Plan,
        report: &KernelReport,
        line: &'a Line,
        serial: bool,
        tasks: Tasks,
    ) -> Self {
        let version = report
            .version
            .as_deref()
            .and_then(|version| version.parse().ok());
        let source = report.source.as_ref();
        let upstream = source.is_some_and(Source::is_upstream);
        Self {
            plan,
            observed: Observed::new(&plan.planned, version).upstream(upstream),
            programs: ObservedPrograms::new(&plan.programs),
            tasks,
            line,
            serial,
            started: Instant::now(),
            ready: None,
            boot: None,
            first_ready: None,
            count: 0,
            vm: InVm::default(),
            cut_off: Vec::new(),
            has_result: false,
            unable: None,
            garbage: Vec::new(),
            complaints: Vec::new(),
            evidence: None,
            unmarked: false,
        }
    }

    /// What is left to do.
    pub(crate) fn rest(&self) -> Rest {
        Rest {
            scenarios: self.observed.rest(),
            serial: self.serial,
            tried: self.programs.tried(),
            crashed: self.programs.crashed().to_vec(),
        }
    }

    /// Whether nothing is left to do.
    pub(crate) fn is_complete(&self) -> bool {
        self.observed.rest().is_empty() && self.programs.next().is_none()
    }

    /// A VM is about to be started, for what is left; `command` repeats it by hand.
    pub(crate) fn vm_started(&mut self, command: &str) {
        self.vm = InVm {
            rest: self.observed.rest(),
            command: command.to_owned(),
            ..InVm::default()
        };
        self.observed.vm_started();
        self.tasks.clear();
        (self.started, self.ready) = (Instant::now(), None);
    }

    /// Whether the guest has reported that it runs.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.is_some()
    }

    fn guest(&mut self, event: &Event) {
        let known = match event {
            Event::Started { scenario } | Event::Finished { scenario, .. } => {
                self.vm.rest.iter().any(|planned| planned.id == *scenario)
            }
            Event::ProgramStarted { index, program } => {
                let planned = self.plan.programs.planned().get(*index);
                planned.is_some_and(|planned| planned.task.program == *program)
            }
            Event::ProgramFinished { index, .. } => *index < self.plan.programs.planned().len(),
            _ => true,
        };
        if !known {
            let line = format!("{event:?}");
            return self.garbage("it is about nothing that this VM was given", &line);
        }
        if let Event::Started { .. } | Event::ProgramStarted { .. } = event {
            if self.observed.running_now().is_empty() {
                self.vm.at_start = self.vm.lines;
            }
            if let (Some(ready), Some((_, setup))) = (self.ready, &mut self.boot) {
                setup.get_or_insert_with(|| ready.elapsed());
            }
        }
        let again = matches!(event, Event::Started { scenario } if self.observed.knows(scenario));
        self.observed.event(event);
        if let Some(program) = self.programs.event(event) {
            self.line.program_finished(&program);
        }
        if let Event::Finished { .. } | Event::ProgramFinished { .. } = event {
            self.has_result = true;
        }
        self.tasks.event(event);
        let of = self.plan.planned.len() + self.plan.programs.planned().len();
        match event {
            Event::Ready { .. } => {
                let now = Instant::now();
                self.ready = Some(now);
                self.vm.at_ready = Some(self.vm.lines);
                self.first_ready.get_or_insert(now);
                self.boot.get_or_insert((now - self.started, None));
            }
            Event::Warning { message } => self.line.note(message),
            Event::CannotGoOn { message } if self.has_result => {
                self.line
                    .note(&format!("the guest cannot go on: {message}"));
            }
            Event::CannotGoOn { message } => self.unable = Some(message.clone()),
            Event::Started { scenario } => {
                self.count += usize::from(!again);
                self.line.scenario(scenario, self.count, of);
            }
            Event::ProgramStarted { program, .. } => {
                self.count += 1;
                self.line.scenario(program, self.count, of);
            }
            Event::Finished { scenario, .. } => self.finished(scenario),
            _ => {}
        }
    }

    fn finished(&self, id: &str) {
        if let Some(judged) = self.observed.judged(id) {
            self.line.finished(&judged);
        }
    }

    fn garbage(&mut self, reason: &str, line: &str) {
        if self.garbage.len() < GARBAGE_LINES {
            let line: String = line.chars().take(300).collect();
            self.garbage.push(format!(
                "the guest sent what is no event ({reason}): {line}"
            ));
        }
    }

    /// A VM has ended: whatever ran then gets its outcome. What was reported counts, also if the harness could not stay to
    /// the end.
    pub(crate) fn vm_ended(&mut self, finished: Result<&Finished, &anyhow::Error>) -> VmEnd {
        let ending = match (finished, self.unable.take()) {
            (Ok(_), Some(why)) => {
                Ending::Infra(format!("the guest cannot work on this kernel: {why}"))
            }
            (Ok(finished), None) => ending(&finished.ending),
            (Err(error), _) => Ending::Infra(format!("{error:#}")),
        };
        let running = self.observed.running_now();
        let ids = self.observed.running().to_vec();
        let crashed = self.is_ready() && !matches!(ending, Ending::Done | Ending::Infra(_));
        let mut words = LastWords::default();
        if let Ok(finished) = finished {
            let since = if crashed && !running.is_empty() {
                words = last_words(finished, self.vm.at_start);
                self.vm.at_start
            } else {
                usize::MAX
            };
            self.take_console(finished, since);
        }
        let tail = finished.map(|finished| finished.console.last_lines(CONSOLE_TAIL));
        self.keep_evidence(tail.unwrap_or_default(), ending != Ending::Done);
        self.observed.vm_ended(&ending, &words);
        if let Some(program) = self.programs.vm_ended(&ending, &words) {
            self.line.program_finished(&program);
        }
        match ids.as_slice() {
            [id] if crashed => self.finished(id),
            _ => self.cut_off = ids,
        }
        let reason = self.observed.problem().unwrap_or_default().to_owned();
        let at_the_limit = matches!(
            finished.map(|finished| &finished.ending),
            Ok(vm::Ending::TimedOut { .. })
        );
        match ending {
            Ending::Done => VmEnd::Over,
            Ending::Infra(_) => VmEnd::Infra(reason),
            _ if !self.is_ready() => VmEnd::Infra(reason),
            // Where nothing even began, nothing will in the next VM.
            _ if at_the_limit || !self.observed.has_begun() => VmEnd::Over,
            _ => {
                self.serial = true;
                VmEnd::Crashed(Restart { running, reason })
            }
        }
    }

    /// Keeps what the console has to say; what it said `since` that line belongs to those that ran then.
    fn take_console(&mut self, finished: &Finished, since: usize) {
        let at_ready = self.vm.at_ready.unwrap_or(usize::MAX);
        let splats = finished.console.splats().iter();
        let others = splats.filter(|splat| splat.at < since);
        self.complaints
            .extend(others.map(|splat| (splat.clone(), splat.at < at_ready)));
        self.unmarked |= finished.ending == vm::Ending::Done && !self.vm.marked;
    }

    /// Of a VM that was cut off there is more to see than of one that was not.
    fn keep_evidence(&mut self, tail: Vec<String>, cut_off: bool) {
        let command = mem::take(&mut self.vm.command);
        let better = cut_off || self.evidence.as_ref().is_none_or(|kept| !kept.cut_off);
        if better && !command.is_empty() {
            self.evidence = Some(Evidence {
                tail,
                command,
                cut_off,
            });
        }
    }

    /// The files of the last VM are kept under another name.
    pub(crate) fn kept_elsewhere(&mut self, names: Option<[String; 2]>) {
        if let (Some([from, to]), Some(evidence)) = (names, &mut self.evidence) {
            evidence.command = evidence.command.replace(&from, &to);
        }
    }

    /// Says why no other VM follows.
    pub(crate) fn no_more(&mut self, why: &str) {
        self.observed.no_more(why);
    }

    /// Puts everything into the report.
    pub(crate) fn conclude(self, report: &mut KernelReport) {
        let end = Instant::now();
        report.phases_ms.boot = self.boot.map(|(boot, _)| ms(boot));
        report.phases_ms.setup = self.boot.and_then(|(_, setup)| setup).map(ms);
        report.phases_ms.scenarios = self.first_ready.map(|ready| ms(end - ready));
        let problem = self.observed.problem().map(str::to_owned);
        for id in &self.cut_off {
            self.finished(id);
        }
        self.observed.conclude(report);
        self.programs.conclude(problem.as_deref(), report);
        report.warnings.extend(self.garbage);
        splats(&self.complaints, report);
        if self.unmarked {
            complain(
                report,
                "the console did not carry what the kernel logs: kernel warnings would have been missed",
            );
        }
        if let Some(evidence) = self.evidence {
            report.qemu_command = Some(evidence.command);
            if report.verdict != KernelVerdict::Ok {
                report.console_tail = evidence.tail;
            }
        }
    }
}

impl Observer for Watch<'_> {
    fn take(&mut self, event: VmEvent) {
        match event {
            VmEvent::Guest(event) => self.guest(&event),
            VmEvent::Console(text) => {
                self.line.detail(&text);
                self.vm.marked |= text.contains(LOG_MARK);
                self.vm.lines += 1;
            }
            VmEvent::Garbage { line, reason } => self.garbage(&reason, &line),
        }
    }

    fn deadline(&self) -> Option<(Instant, String)> {
        self.tasks.deadline()
    }
}

/// What the console said since that line, each report once.
fn last_words(finished: &Finished, since: usize) -> LastWords {
    let splats = finished.console.splats().iter();
    let mut seen = HashSet::new();
    let splats = splats.filter(|splat| splat.at >= since && seen.insert(&splat.message));
    let mut reports = String::new();
    for line in splats.flat_map(|splat| &splat.lines) {
        if reports.len() + line.len() < REPORTS {
            reports.push_str(line);
            reports.push('\n');
        }
    }
    LastWords {
        reports: (!reports.is_empty()).then(|| reports.trim_end().to_owned()),
        tail: finished.console.last_lines(LAST_LINES),
    }
}

fn ending(ending: &vm::Ending) -> Ending {
    let words = ending.to_string();
    match ending {
        vm::Ending::Done => Ending::Done,
        vm::Ending::KernelPanic { message } => Ending::Panicked(message.clone()),
        vm::Ending::EndedEarly | vm::Ending::Flooded { .. } => Ending::Broke(words),
        vm::Ending::TimedOut { .. }
        | vm::Ending::IdleTimeout { .. }
        | vm::Ending::KernelHung { .. }
        | vm::Ending::Overdue { .. } => Ending::TimedOut(words),
        vm::Ending::QemuFailed { .. } | vm::Ending::Lost { .. } => Ending::Infra(words),
        vm::Ending::Interrupted => Ending::Infra(INTERRUPTED.to_owned()),
    }
}

/// What the kernel complained about and no scenario answers for.
fn splats(complaints: &[(Splat, bool)], report: &mut KernelReport) {
    for (splat, at_boot) in complaints {
        let at_boot = *at_boot;
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
