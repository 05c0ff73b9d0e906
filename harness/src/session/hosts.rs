//! What this machine has for guests of an architecture: QEMU, the accelerator, the folder of templates.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;

use super::options::RunOptions;
use crate::{
    initramfs::guest,
    kernels::Arch,
    vm::{self, Choice, Qemu, Templates},
};

/// What VMs of an architecture need.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) qemu: Qemu,
    pub(crate) accelerator: Choice,
    /// `None` if every VM boots.
    pub(crate) templates: Option<Templates>,
}

/// Those of all architectures of a run, found when they are needed first.
#[derive(Debug)]
pub(crate) struct Hosts {
    options: RunOptions,
    cache: PathBuf,
    found: Mutex<BTreeMap<Arch, Arc<Host>>>,
}

impl Hosts {
    pub(super) fn new(options: &RunOptions, cache: PathBuf) -> Self {
        Self {
            options: options.clone(),
            cache,
            found: Mutex::default(),
        }
    }

    /// That of an architecture. The error says what is missing.
    pub(super) fn of(&self, arch: Arch) -> Result<Arc<Host>> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = found.get(&arch) {
            return Ok(Arc::clone(host));
        }
        let host = Arc::new(self.find(arch)?);
        found.insert(arch, Arc::clone(&host));
        Ok(host)
    }

    fn find(&self, arch: Arch) -> Result<Host> {
        guest::of(arch)?;
        let options = &self.options;
        let accelerator = if options.icount {
            Choice::icount()
        } else {
            vm::accel::choose(options.accel, arch, &self.cache)?
        };
        let no_template =
            options.icount || options.no_template || !options.machine.allows_template();
        let templates =
            (!no_template).then(|| Templates::if_they_pay(&self.cache, accelerator.accelerator));
        Ok(Host {
            templates: templates.flatten(),
            qemu: Qemu::find(arch, &self.cache)?,
            accelerator,
        })
    }
}
