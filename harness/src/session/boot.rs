//! One VM: by the fastest way that there is to where its guest runs.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::{
    report::{KernelReport, terminal::Line},
    session::{
        fast_boot::Boot,
        kernel_run::{Setup, ms},
        observer::Watch,
    },
    vm::{self, Config, Limits, Template, Vm},
};

/// The memory of a VM.
pub(crate) const MEMORY_MIB: u32 = 512;

/// A guest may be silent as long as its slowest scenario, and this much longer.
const GRACE: Duration = Duration::from_secs(60);

impl Setup {
    /// One VM, from start to end; whether it was cut off before the guest was done.
    pub(crate) fn vm(
        &self,
        boot: &Boot,
        initramfs: &[u8],
        line: &Line,
        report: &mut KernelReport,
    ) -> Result<bool> {
        let keep = self.kept(&report.requested);
        let mut config = Config::new(&boot.image, initramfs, boot.accelerator.accelerator);
        config.kernel_args.clone_from(&boot.arguments);
        config.memory_mib = MEMORY_MIB;
        config.icount = self.icount;
        config.limits = self.limits();
        config.keep = keep.as_deref();
        report.command_line = Some(config.kernel_command_line());
        report.accelerator = Some(config.accelerator.name().to_owned());
        report.accelerator_reason = Some(boot.accelerator.reason.clone());
        report.icount = self.icount;
        report.qemu_version = Some(self.qemu.version.clone());
        report.memory_mb = Some(config.memory_mib.into());

        if let Some(template) = self.template(boot, &config, line, report) {
            match self.watched(&config.starting_from(&template), "template", line, report) {
                Ok(Some(cut_off)) => return Ok(cut_off),
                Ok(None) => {}
                Err(why) => line.detail(&format!("the template cannot be used: {why:#}")),
            }
            if let Some(templates) = &self.templates
                && let Err(why) = templates.discard(&template)
            {
                line.detail(&format!("{why:#}"));
            }
        }
        Ok(self.watched(&config, "cold", line, report)?.unwrap_or(true))
    }

    /// The template that this VM can start from, if there is one.
    fn template(
        &self,
        boot: &Boot,
        config: &Config<'_>,
        line: &Line,
        report: &mut KernelReport,
    ) -> Option<Template> {
        let templates = self.templates.as_ref()?;
        boot.template_of.as_ref()?;
        let started = Instant::now();
        let vm = (&self.qemu, config);
        let template = boot.template(templates, vm, self.interrupt.stop(), line);
        report.phases_ms.template = Some(ms(started.elapsed()));
        template
    }

    /// Stays with one VM to its end; whether it was cut off before the guest was done. `None` if it started from a
    /// template and the guest never came to report: that says nothing of the kernel.
    fn watched(
        &self,
        config: &Config<'_>,
        boot: &str,
        line: &Line,
        report: &mut KernelReport,
    ) -> Result<Option<bool>> {
        line.phase("booting");
        report.boot = Some(boot.to_owned());
        let mut watch = Watch::new(&self.plan, report, line);
        let vm = Vm::start(&self.qemu, config)?;
        report.qemu_command = Some(vm.command_line().to_owned());
        line.detail(vm.command_line());
        let finished = vm.run(self.interrupt.stop(), &mut |event| watch.take(event));
        let interrupted = self.interrupt.stop().requested();
        if config.template.is_some() && !watch.is_ready() && !interrupted {
            let why =
                finished.map_or_else(|error| format!("{error:#}"), |vm| vm.ending.to_string());
            line.detail(&format!("the template led nowhere: {why}"));
            return Ok(None);
        }
        let cut_off = !matches!(&finished, Ok(finished) if finished.ending == vm::Ending::Done);
        watch.conclude(finished.as_ref(), report);
        Ok(Some(cut_off))
    }

    fn limits(&self) -> Limits {
        let usual = Limits::default();
        let scenarios = self.plan.planned.iter().map(|scenario| scenario.timeout);
        let programs = self.plan.programs.time_limit();
        let slowest = scenarios.chain(programs).max();
        let slowest = slowest.max(self.scenario_timeout).unwrap_or_default();
        Limits {
            wall: self.timeout,
            silence: self
                .silence
                .unwrap_or_else(|| usual.silence.max(slowest + GRACE)),
            ..usual
        }
    }
}
