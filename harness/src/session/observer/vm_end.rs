//! How a VM ended: outcomes for what ran then, and whether another VM follows.

use std::mem;

use super::{ShownVm, Watch, console};
use crate::{
    report::{
        Restart,
        observed::ending::{ConsoleExcerpt, Ending},
    },
    support::interrupt::{INTERRUPTED, Interrupt},
    vm::{self, Finished},
};

/// The last lines of the console that the report has when something is not ok.
const CONSOLE_TAIL: usize = 40;

/// How a VM ended, and whether another one follows.
pub(crate) enum VmEnd {
    /// The guest was done, or another VM cannot do more.
    Over,
    /// The kernel or the guest crashed.
    Crashed(Restart),
    /// The infrastructure failed.
    Infra(String),
}

impl Watch<'_> {
    /// A VM has ended: what ran then gets its outcome. An error of the harness keeps what was reported before.
    pub(crate) fn vm_ended(&mut self, finished: Result<&Finished, &anyhow::Error>) -> VmEnd {
        let ending = match (finished, self.unable.take()) {
            (Ok(_), Some(why)) => {
                Ending::Infra(format!("the guest cannot work on this kernel: {why}"))
            }
            (Ok(finished), None) if finished.ending == vm::Ending::Interrupted => {
                let why = self.interrupt.as_ref().map(Interrupt::why);
                Ending::Infra(why.unwrap_or_else(|| INTERRUPTED.to_owned()))
            }
            (Ok(finished), None) => ending(&finished.ending),
            (Err(error), _) => Ending::Infra(format!("{error:#}")),
        };
        let running = self.observed.running_names();
        let ids = self.observed.running().to_vec();
        let crashed = self.is_ready() && !matches!(ending, Ending::Done | Ending::Infra(_));
        let mut excerpt = ConsoleExcerpt::default();
        let mut tail = Vec::new();
        if let Ok(finished) = finished {
            let since = if crashed && !running.is_empty() {
                excerpt = console::excerpt(&finished.console, self.vm.at_start);
                self.vm.at_start
            } else {
                usize::MAX
            };
            self.take_console(finished, since);
            tail = finished.console.last_lines(CONSOLE_TAIL);
        }
        self.show_vm(tail, ending == Ending::Done);
        self.observed.vm_ended(&ending, &excerpt);
        if let Some(program) = self.programs.vm_ended(&ending, &excerpt) {
            self.program_finished(&program);
        }
        match ids.as_slice() {
            [id] if crashed => self.finished(id),
            _ => self.interrupted = ids,
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
            // If nothing started in this VM, nothing will in the next.
            _ if at_the_limit || !self.observed.has_started() => VmEnd::Over,
            _ => {
                self.serial = true;
                VmEnd::Crashed(Restart { running, reason })
            }
        }
    }

    /// Keeps the splats before line `since`: later ones belong to what ran when the VM ended.
    fn take_console(&mut self, finished: &Finished, since: usize) {
        let at_ready = self.vm.at_ready.unwrap_or(usize::MAX);
        let splats = finished.console.splats().iter();
        let splats = splats.filter(|splat| splat.at < since);
        self.splats
            .extend(splats.map(|splat| (splat.clone(), splat.at < at_ready)));
        self.unmarked |= finished.ending == vm::Ending::Done && !self.vm.marked;
    }

    /// Shows this VM in the report, unless it is done and an earlier one is not.
    fn show_vm(&mut self, tail: Vec<String>, is_done: bool) {
        let command = mem::take(&mut self.vm.command);
        let replaces = !is_done || self.shown.as_ref().is_none_or(|shown| shown.is_done);
        if replaces && !command.is_empty() {
            self.shown = Some(ShownVm {
                tail,
                command,
                is_done,
            });
        }
    }
}

fn ending(ending: &vm::Ending) -> Ending {
    let text = ending.to_string();
    match ending {
        vm::Ending::Done => Ending::Done,
        vm::Ending::KernelPanic { message } => Ending::Panicked(message.clone()),
        vm::Ending::EndedEarly | vm::Ending::Flooded { .. } => Ending::Broke(text),
        vm::Ending::TimedOut { .. }
        | vm::Ending::IdleTimeout { .. }
        | vm::Ending::KernelHung { .. }
        | vm::Ending::Overdue { .. } => Ending::TimedOut(text),
        vm::Ending::QemuFailed { .. } | vm::Ending::Lost { .. } => Ending::Infra(text),
        vm::Ending::Interrupted => Ending::Infra(INTERRUPTED.to_owned()),
    }
}
