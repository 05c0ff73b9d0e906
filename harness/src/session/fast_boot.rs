//! The fastest boot of a kernel: image, kernel arguments, template.

use std::path::PathBuf;

use anyhow::Result;

use crate::{
    kernels::{Arch, Kernel, Kernels},
    report::terminal::Line,
    support::stop::Stop,
    vm::{Choice, Config, Qemu, Template, Templates, boot_profile::BootProfile},
};

/// How a kernel boots.
#[derive(Clone, Debug)]
pub struct Boot {
    /// The architecture of the kernel.
    pub arch: Arch,
    /// The kernel, in a form that QEMU loads.
    pub image: PathBuf,
    /// Kernel arguments in addition to the usual ones.
    pub arguments: Vec<String>,
    /// The accelerator, and why it was chosen.
    pub accelerator: Choice,
    /// The kernel, if its VM may start from a template.
    pub template_of: Option<Kernel>,
}

impl Boot {
    /// Boots the published image, without a boot profile.
    pub fn plain(kernel: &Kernel, accelerator: Choice) -> Self {
        Self {
            arch: kernel.arch,
            image: kernel.image.clone(),
            arguments: Vec::new(),
            accelerator,
            template_of: None,
        }
    }

    /// Boots by the boot profile, with the uncompressed image if it can be unpacked.
    pub fn fastest(
        kernels: &Kernels,
        kernel: &Kernel,
        accelerator: Choice,
        line: &Line,
    ) -> Result<Self> {
        let profile = BootProfile::fastest(
            kernel.version.parse().ok(),
            kernel.arch,
            accelerator.accelerator,
        )?;
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

    /// The template for such a VM; a failure is not an error, since the VM can boot.
    pub fn template(
        &self,
        templates: &Templates,
        (qemu, config): (&Qemu, &Config<'_>),
        stop: &Stop,
        line: &Line,
    ) -> Option<Template> {
        let kernel = self.template_of.as_ref()?;
        line.phase("finding its template");
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
