//! One kernel after the other, as somebody asks for them.

use std::{path::PathBuf, sync::Arc};

use anyhow::Result;
use fexit::KernelVersion;

use super::resolve;
use crate::{
    initramfs::bpf_objects::Programs,
    kernels::Kernels,
    report::{KernelReport, terminal::Board},
    session::plan::Plan,
    session::{
        kernel_run::{self, Setup, Target},
        options::RunOptions,
    },
    support::interrupt::Interrupt,
};

/// Kernels that can be booted, from the oldest to the newest.
pub struct Booter {
    setup: Setup,
    targets: Vec<Target>,
}

impl Booter {
    /// Finds out what the kernels are, those of these names and the user's `own` images. Nothing is
    /// booted, and nothing downloaded, before it is asked for.
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
        targets.sort_by_key(Target::version);
        let plan = Plan {
            planned: Vec::new(),
            programs: programs.clone(),
        };
        Ok(Self {
            setup: Setup::new(options, &plan, interrupt, kernels, board)?,
            targets,
        })
    }

    /// The upstream versions of the kernels, as far as they are known.
    pub fn versions(&self) -> Vec<Option<KernelVersion>> {
        self.targets.iter().map(Target::version).collect()
    }

    /// The names of the kernels.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.targets.iter().map(|target| target.name.as_str())
    }

    /// Boots one of them, and tries every program.
    pub fn boot(&self, kernel: usize) -> KernelReport {
        self.targets
            .get(kernel)
            .map(|target| self.setup.run(target))
            .unwrap_or_default()
    }

    /// Whether the user wants no more of it.
    pub fn interrupted(&self) -> bool {
        self.setup.interrupt.stop().requested()
    }
}
