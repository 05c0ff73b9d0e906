//! Runs one VM, from a template if there is one.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::{
    report::{KernelReport, add, terminal::Line},
    session::{
        fast_boot::Boot,
        hosts::Host,
        kernel_run::Setup,
        observer::{VmEnd, Watch},
        plan::Plan,
    },
    vm::{Config, Limits, Template, Vm, kernel_command_line, slots},
};

/// The memory of a VM, in MiB.
pub(crate) const MEMORY_MIB: u32 = 512;

/// The default idle timeout is at least the time limit of the slowest scenario and this.
const IDLE_MARGIN: Duration = Duration::from_secs(60);

impl Setup {
    /// One VM, from start to end.
    pub(crate) fn vm(
        &self,
        boot: &Boot,
        initramfs: &[u8],
        watch: &mut Watch<'_>,
        line: &Line,
        report: &mut KernelReport,
    ) -> Result<VmEnd> {
        let limit = self.options.machine.max_vms;
        let _slot = slots::take(self.cache_dir(), limit, self.interrupt.stop(), |why| {
            line.note(why);
        })?;
        let keep = self.keep_dir(&report.requested);
        let mut config = Config::new(&boot.image, initramfs, boot.accelerator.accelerator);
        config.arch = boot.arch;
        config.kernel_args = self.options.machine.kernel_args(&boot.arguments);
        config.qemu_args.clone_from(&self.options.machine.qemu_args);
        config.memory_mib = MEMORY_MIB;
        config.icount = self.options.icount;
        config.cpus = self.options.cpus();
        config.limits = self.limits(watch.plan());
        config.keep = keep.as_deref();
        report.command_line = Some(kernel_command_line(&config));
        report.accelerator = Some(config.accelerator.name().to_owned());
        report.accelerator_reason = Some(boot.accelerator.reason.clone());
        report.icount = self.options.icount;
        let host = self.host(boot.arch)?;
        report.qemu_version = Some(host.qemu.version.clone());
        report.memory_mb = Some(config.memory_mib.into());
        report.cpus = Some(config.cpus);

        if let Some(template) = self.template(&host, boot, &config, line, report) {
            report.boot = Some("template".to_owned());
            match self.observe(&host, &config.starting_from(&template), watch, line) {
                Ok(Some(end)) => return Ok(end),
                Ok(None) => {}
                Err(why) => line.detail(&format!("the template cannot be used: {why:#}")),
            }
            if let Some(templates) = &host.templates
                && let Err(why) = templates.discard(&template)
            {
                line.detail(&format!("{why:#}"));
            }
        }
        report.boot = Some("cold".to_owned());
        let end = self.observe(&host, &config, watch, line)?;
        Ok(end.unwrap_or(VmEnd::Over))
    }

    /// The template for this VM, if there is one.
    fn template(
        &self,
        host: &Host,
        boot: &Boot,
        config: &Config<'_>,
        line: &Line,
        report: &mut KernelReport,
    ) -> Option<Template> {
        let templates = host.templates.as_ref()?;
        boot.template_of.as_ref()?;
        let started = Instant::now();
        let vm = (&host.qemu, config);
        let template = boot.template(templates, vm, self.interrupt.stop(), line);
        add(&mut report.phases_ms.template, started.elapsed());
        template
    }

    /// Observes one VM to its end. `None` if restoring it from a template failed: the guest has not reported anything.
    fn observe(
        &self,
        host: &Host,
        config: &Config<'_>,
        watch: &mut Watch<'_>,
        line: &Line,
    ) -> Result<Option<VmEnd>> {
        line.phase("booting");
        let vm = Vm::start(&host.qemu, config)?;
        watch.vm_started(vm.command_line());
        line.detail(vm.command_line());
        let finished = vm.run(self.interrupt.stop(), watch);
        let interrupted = self.interrupt.stop().requested();
        if config.template.is_some() && !watch.is_ready() && !interrupted {
            let why =
                finished.map_or_else(|error| format!("{error:#}"), |vm| vm.ending.to_string());
            line.detail(&format!("restoring the template failed: {why}"));
            return Ok(None);
        }
        Ok(Some(watch.vm_ended(finished.as_ref())))
    }

    fn limits(&self, plan: &Plan) -> Limits {
        let usual = Limits::default();
        let scenarios = plan.planned.iter().map(|scenario| scenario.timeout);
        let programs = plan.programs.time_limit();
        let slowest = scenarios.chain(programs).max();
        let slowest = slowest
            .max(self.options.scenario_timeout)
            .unwrap_or_default();
        Limits {
            time_limit: self.options.timeout,
            idle_timeout: self
                .options
                .idle_timeout
                .unwrap_or_else(|| usual.idle_timeout.max(slowest + IDLE_MARGIN)),
            ..usual
        }
    }
}
