//! Observes the VMs of one kernel: shows their events on the board at once, and adds them to the report at the end.

mod console;
mod vm_end;

use std::time::{Duration, Instant};

use protocol::{event::Event, job::LOG_MARK, scenario::Scenario};

use crate::{
    initramfs::job::Rest,
    report::{
        KernelReport, KernelVerdict, ProgramReport, ScenarioVerdict, ms,
        observed::{Observed, programs::ObservedPrograms},
        terminal::Line,
    },
    session::{plan::Plan, tasks::Tasks},
    support::interrupt::Interrupt,
    vm::{Observer, Splat, VmEvent},
};

pub(crate) use vm_end::VmEnd;

/// The report shows this many lines that are not events.
const MAX_INVALID_LINES: usize = 20;

/// Observes the VMs of one kernel.
pub(crate) struct Watch<'a> {
    plan: &'a Plan,
    observed: Observed,
    programs: ObservedPrograms,
    tasks: Tasks,
    line: &'a Line,
    /// Ends the run early: see [`Watch::ending_with`].
    interrupt: Option<Interrupt>,
    fail_fast: bool,
    serial: bool,
    started: Instant,
    ready: Option<Instant>,
    /// Of the first VM: the time from its start to its first event, and from there to the first scenario or program.
    boot: Option<(Duration, Option<Duration>)>,
    /// The time of the first VM's first event.
    first_ready: Option<Instant>,
    /// The number of scenarios and programs that have started.
    count: usize,
    vm: CurrentVm,
    /// The scenarios that ran when the last VM ended. They may run again in the next.
    interrupted: Vec<String>,
    /// Whether a scenario or program has finished.
    has_result: bool,
    /// Why the guest could not run anything.
    unable: Option<String>,
    invalid_lines: Vec<String>,
    /// The splats that were printed while no scenario or program ran, and whether at boot.
    splats: Vec<(Splat, bool)>,
    /// The VM that the report shows.
    shown: Option<ShownVm>,
    /// Whether the console of a VM did not carry the kernel's log.
    unmarked: bool,
}

/// What the current VM has sent.
#[derive(Debug, Default)]
struct CurrentVm {
    rest: Vec<Scenario>,
    /// The number of lines that the console has printed.
    lines: usize,
    /// That number at the guest's first event.
    at_ready: Option<usize>,
    /// That number when the scenarios or the program that run now started.
    at_start: usize,
    /// Whether the console has carried [`LOG_MARK`].
    marked: bool,
    command: String,
}

struct ShownVm {
    tail: Vec<String>,
    command: String,
    is_done: bool,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(
        plan: &'a Plan,
        report: &KernelReport,
        line: &'a Line,
        serial: bool,
        tasks: Tasks,
    ) -> Self {
        Self {
            plan,
            observed: Observed::new(&plan.planned, report.running()),
            programs: ObservedPrograms::new(&plan.programs),
            tasks,
            line,
            interrupt: None,
            fail_fast: false,
            serial,
            started: Instant::now(),
            ready: None,
            boot: None,
            first_ready: None,
            count: 0,
            vm: CurrentVm::default(),
            interrupted: Vec::new(),
            has_result: false,
            unable: None,
            invalid_lines: Vec::new(),
            splats: Vec::new(),
            shown: None,
            unmarked: false,
        }
    }

    /// The run ends with this interrupt, which the first result that is not ok causes with `fail_fast`.
    pub(crate) fn ending_with(self, interrupt: &Interrupt, fail_fast: bool) -> Self {
        Self {
            interrupt: Some(interrupt.clone()),
            fail_fast,
            ..self
        }
    }

    /// What it observes.
    pub(crate) fn plan(&self) -> &'a Plan {
        self.plan
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

    /// A VM has started, with [`Watch::rest`]; `command` repeats it by hand.
    pub(crate) fn vm_started(&mut self, command: &str) {
        self.vm = CurrentVm {
            rest: self.observed.rest(),
            command: command.to_owned(),
            ..CurrentVm::default()
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
                planned.is_some_and(|planned| planned.task.name() == program)
            }
            Event::ProgramFinished { index, .. } => *index < self.plan.programs.planned().len(),
            _ => true,
        };
        if !known {
            let line = format!("{event:?}");
            return self.invalid_line("it is not about the job of this VM", &line);
        }
        if let Event::Started { .. } | Event::ProgramStarted { .. } = event {
            if self.observed.running_names().is_empty() {
                self.vm.at_start = self.vm.lines;
            }
            if let (Some(ready), Some((_, setup))) = (self.ready, &mut self.boot) {
                setup.get_or_insert_with(|| ready.elapsed());
            }
        }
        let again =
            matches!(event, Event::Started { scenario } if self.observed.has_seen(scenario));
        self.observed.event(event);
        if let Some(program) = self.programs.event(event) {
            self.program_finished(&program);
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
            if judged.verdict == ScenarioVerdict::NotOk && !self.observed.runs_again(id) {
                self.fail(id);
            }
        }
    }

    fn program_finished(&self, program: &ProgramReport) {
        self.line.program_finished(program);
        // Another one of its group may work.
        if program.verdict == ScenarioVerdict::NotOk && program.any_of.is_empty() {
            self.fail(&program.name());
        }
    }

    /// With `--fail-fast`, ends the run.
    fn fail(&self, name: &str) {
        if let Some(interrupt) = self.interrupt.as_ref().filter(|_| self.fail_fast) {
            interrupt.cancel(&format!("--fail-fast: {name} is not ok"));
        }
    }

    fn invalid_line(&mut self, reason: &str, line: &str) {
        if self.invalid_lines.len() < MAX_INVALID_LINES {
            let line: String = line.chars().take(300).collect();
            self.invalid_lines.push(format!(
                "the guest sent a line that is not an event ({reason}): {line}"
            ));
        }
    }

    /// The files of the last VM were renamed.
    pub(crate) fn files_renamed(&mut self, names: Option<[String; 2]>) {
        if let (Some([from, to]), Some(shown)) = (names, &mut self.shown) {
            shown.command = shown.command.replace(&from, &to);
        }
    }

    /// Records why no other VM follows.
    pub(crate) fn no_more(&mut self, why: &str) {
        self.observed.no_more(why);
    }

    /// Completes the report.
    pub(crate) fn conclude(self, report: &mut KernelReport) {
        let end = Instant::now();
        report.phases_ms.boot = self.boot.map(|(boot, _)| ms(boot));
        report.phases_ms.setup = self.boot.and_then(|(_, setup)| setup).map(ms);
        report.phases_ms.scenarios = self.first_ready.map(|ready| ms(end - ready));
        let problem = self.observed.problem().map(str::to_owned);
        for id in &self.interrupted {
            self.finished(id);
        }
        self.observed.conclude(report);
        self.programs.conclude(problem.as_deref(), report);
        report.warnings.extend(self.invalid_lines);
        console::report_splats(&self.splats, report);
        if self.unmarked {
            let error =
                "the console did not carry the kernel's log: kernel warnings may be missing";
            console::kernel_error(report, error);
        }
        if let Some(shown) = self.shown {
            report.qemu_command = Some(shown.command);
            if report.verdict != KernelVerdict::Ok {
                report.console_tail = shown.tail;
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
            VmEvent::Garbage { line, reason } => self.invalid_line(&reason, &line),
        }
    }

    fn deadline(&self) -> Option<(Instant, String)> {
        self.tasks.deadline()
    }
}

#[cfg(test)]
mod tests;
