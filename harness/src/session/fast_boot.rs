//! The fastest boot of a kernel: its image, its arguments, and a template to start from.

use std::path::PathBuf;

use anyhow::Result;

use crate::{
    kernels::{Kernel, Kernels},
    report::terminal::Line,
    support::stop::Stop,
    vm::{Choice, Config, Mode, Qemu, Template, Templates, boot_profile::BootProfile},
};

/// What is booted, and with which arguments besides the usual ones.
#[derive(Clone, Debug)]
pub struct Boot {
    /// The kernel, in a form that QEMU loads.
    pub image: PathBuf,
    /// More arguments for it.
    pub arguments: Vec<String>,
    /// What runs the guest's instructions.
    pub accelerator: Choice,
    /// The kernel, if a VM of it may start from a template.
    pub template_of: Option<Kernel>,
}

impl Boot {
    /// The kernel as it was published.
    pub fn plain(kernel: &Kernel, accelerator: Choice) -> Self {
        Self {
            image: kernel.image.clone(),
            arguments: Vec::new(),
            accelerator,
            template_of: None,
        }
    }

    /// What to try when this boot failed: the kernel as it was published, and no KVM that looked well and did not do.
    pub fn again(&self, kernel: &Kernel, mode: Mode, why: &str) -> Self {
        Self::plain(kernel, self.accelerator.again(mode, why))
    }

    /// The fastest boot of a kernel, as far as its image allows.
    pub fn fastest(
        kernels: &Kernels,
        kernel: &Kernel,
        accelerator: Choice,
        line: &Line,
    ) -> Result<Self> {
        let profile = BootProfile::fastest(kernel.version.parse().ok(), accelerator.accelerator)?;
        let mut boot = Self::plain(kernel, accelerator);
        boot.arguments = profile.arguments;
        boot.template_of = Some(kernel.clone());
        if profile.uncompressed {
            match kernels.uncompressed(kernel) {
                Ok(image) => boot.image = image,
                Err(why) => line.detail(&format!("the guest unpacks its kernel itself: {why:#}")),
            }
        }
        Ok(boot)
    }

    /// The template that such a VM can start from. Without one it boots: no template is worth an error.
    pub fn template(
        &self,
        templates: &Templates,
        (qemu, config): (&Qemu, &Config<'_>),
        stop: &Stop,
        line: &Line,
    ) -> Option<Template> {
        let kernel = self.template_of.as_ref()?;
        line.phase("looking for its template");
        let mut say = |what: &str| {
            line.phase(what);
            line.detail(what);
        };
        templates
            .obtain(qemu, config, kernel, stop, &mut say)
            .inspect_err(|why| line.detail(&format!("no template: {why:#}")))
            .ok()
    }
}
