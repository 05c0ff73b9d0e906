//! Runs one kernel again: `--retries`, `--rerun-failed`, `--repeat` and `--fail-fast`.

use super::kernel_run::{Setup, Target};
use crate::report::{KernelReport, KernelVerdict, tries};

impl Setup {
    /// Runs one kernel, as often as the options say. Errors are in the report, which lists every scenario.
    pub(crate) fn run(&self, target: &Target) -> KernelReport {
        let mut report = match self.tries.repeat {
            None => self.with_retries(target),
            Some(count) => self.repeated(target, count),
        };
        if let Some(earlier) = &target.earlier {
            report = tries::replace(earlier.clone(), report);
        }
        if self.tries.fail_fast && report.verdict == KernelVerdict::NotOk {
            let name = &target.name;
            self.interrupt
                .cancel(&format!("--fail-fast: {name} is not ok"));
        }
        report
    }

    fn repeated(&self, target: &Target, count: u16) -> KernelReport {
        let mut all = None;
        for number in 1..=count {
            if number > 1 && self.interrupt.stop().requested() {
                break;
            }
            let line = self.board.line(&target.name);
            line.note(&format!("repetition {number} of {count}"));
            all = Some(tries::repeat(all, self.with_retries(target)));
        }
        all.unwrap_or_default()
    }

    /// Runs what is not ok again, up to the number of retries.
    fn with_retries(&self, target: &Target) -> KernelReport {
        let mut report = self.once(target, &target.plan, 0);
        for number in 1..=self.tries.retries {
            if report.verdict != KernelVerdict::NotOk || self.interrupt.stop().requested() {
                break;
            }
            let again = tries::to_run_again(&report);
            let line = self.board.line(&target.name);
            let count = self.tries.retries;
            line.note(&format!("retry {number} of {count}: {}", again.join(", ")));
            let moved = self.rename_kept_files(&target.name, report.attempts);
            match moved {
                Ok(Some([from, to])) => {
                    let command = report.qemu_command.take();
                    report.qemu_command = command.map(|command| command.replace(&from, &to));
                }
                Ok(None) => {}
                Err(error) => line.note(&format!("{error:#}")),
            }
            let plan = target.plan.only(&again);
            let next = self.once(target, &plan, report.attempts);
            report = tries::replace(report, next);
        }
        report
    }
}
