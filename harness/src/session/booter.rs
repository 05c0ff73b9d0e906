//! Boots single kernels on request, for `harness minimum`.

use std::{path::PathBuf, sync::Arc};

use anyhow::Result;
use fexit::KernelVersion;

use super::resolve;
use crate::{
    initramfs::bpf_objects::Programs,
    kernels::{Arch, Kernels},
    report::{KernelReport, terminal::Board},
    session::plan::Plan,
    session::{
        control::Tries,
        kernel_run::{self, Setup, Target},
        options::RunOptions,
    },
    support::{error::usage, interrupt::Interrupt},
};

/// The kernels, from the oldest to the newest.
pub struct Booter {
    setup: Setup,
    targets: Vec<Target>,
    arch: Arch,
}

impl Booter {
    /// Resolves the named kernels, and reads the user's `own` images. Nothing is downloaded or booted yet. Kernels of two
    /// architectures are a usage error, since a program may have a minimum on each.
    pub fn new(
        (kernels, names, own): (Kernels, &[String], &[PathBuf]),
        options: &RunOptions,
        programs: &Programs,
        board: &Board,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let kernels = Arc::new(kernels);
        let names = kernels.expand(names)?;
        let mut targets = resolve::resolve(&kernels, &names, board, interrupt)?;
        for image in own {
            targets.push(kernel_run::own(image, None)?);
        }
        let mut arches = targets.iter().map(Target::arch);
        let arch = arches.next().unwrap_or(Arch::host());
        if arches.any(|other| other != arch) {
            return Err(usage(
                "the kernels are of two architectures, and each may have its own minimum: search them one after the \
                 other, with --arch x86_64 and with --arch arm64",
            ));
        }
        let plan = Plan {
            planned: Vec::new(),
            programs: programs.clone(),
        };
        targets.sort_by_key(Target::version);
        for target in &mut targets {
            target.plan = plan.clone();
        }
        Ok(Self {
            setup: Setup::new(
                options,
                Tries::default(),
                interrupt,
                kernels,
                board,
                &targets,
            )?,
            targets,
            arch,
        })
    }

    /// The architecture of the kernels.
    pub fn arch(&self) -> Arch {
        self.arch
    }

    /// The upstream versions of the kernels; `None` if unknown.
    pub fn versions(&self) -> Vec<Option<KernelVersion>> {
        self.targets.iter().map(Target::version).collect()
    }

    /// The names of the kernels.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.targets.iter().map(|target| target.name.as_str())
    }

    /// Boots a kernel by its index, and tries every program.
    pub fn boot(&self, kernel: usize) -> KernelReport {
        self.targets
            .get(kernel)
            .map(|target| self.setup.run(target))
            .unwrap_or_default()
    }

    /// Whether the user has interrupted.
    pub fn interrupted(&self) -> bool {
        self.setup.interrupt.stop().requested()
    }
}
