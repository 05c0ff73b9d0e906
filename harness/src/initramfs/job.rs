//! The initramfs for one kernel: the guest, its job, and the modules that its scenarios need.

use std::time::Duration;

use anyhow::{Context as _, Result};
use protocol::{
    job::{Job, Work},
    scenario::Scenario,
};

use crate::{
    initramfs::{bpf_objects::Programs, cpio, guest, kernel_config},
    kernels::{
        Kernel,
        files::modules::{closure, read_module},
    },
};

const PACKING: &str = "cannot pack the initramfs";

/// The part of a plan for the next VM.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    pub(crate) scenarios: Vec<Scenario>,
    /// After a crash the scenarios run one after the other, so that one scenario caused the next crash.
    pub(crate) serial: bool,
    pub(crate) tried: Vec<usize>,
    pub(crate) crashed: Vec<usize>,
}

/// The initramfs, and notes on what it lacks. A scenario that needs a module which this kernel does not have reports
/// that, and the others run.
pub(crate) fn pack(
    kernel: &Kernel,
    programs: &Programs,
    rest: &Rest,
    scenario_timeout: Option<Duration>,
) -> Result<(Vec<u8>, Vec<String>)> {
    let planned = &rest.scenarios;
    let tasks = programs.planned().iter();
    let ids = planned.iter().map(|scenario| scenario.id.clone());
    let mut job = Job::new(Work::Scenarios {
        ids: ids.collect(),
        serial: rest.serial,
        timeout_s: scenario_timeout.map(|limit| limit.as_secs()),
        own_modules: programs
            .own_modules()
            .iter()
            .map(|own| own.name.clone())
            .collect(),
        programs: tasks.map(|planned| planned.task.clone()).collect(),
        tried: rest.tried.clone(),
        crashed: rest.crashed.clone(),
        prepare: programs.prepare().cloned(),
        trigger: programs.trigger().cloned(),
    });
    let (mut files, mut warnings) = (Vec::new(), Vec::new());
    let of_scenarios = planned
        .iter()
        .flat_map(|scenario| scenario.modules.iter().map(String::as_str));
    let needed = programs.own_modules().iter().flat_map(|own| &own.depends);
    let of_programs = programs
        .modules()
        .into_iter()
        .chain(needed.map(String::as_str));
    for module in of_scenarios.chain(of_programs) {
        if let Err(error) = add(kernel, module, &mut job.modules, &mut files) {
            warnings.push(format!("{error:#}"));
        }
    }
    for own in programs.own_modules() {
        files.push((format!("{}.ko", own.name), own.bytes.clone()));
    }
    warnings.dedup();
    let mut image = cpio::start(guest::of(kernel.arch)?.init, &job, &files).context(PACKING)?;
    for (path, content) in programs.files() {
        image.file(&path, 0o644, content).context(PACKING)?;
    }
    if let Some(host_files) = programs.host_files() {
        warnings.extend(host_files.notes().iter().cloned());
        host_files.add_to(&mut image).context(PACKING)?;
    }
    kernel_config::add(kernel, &mut image).context(PACKING)?;
    let image = image.to_bytes();
    Ok((image, warnings))
}

/// Adds a module after its dependencies, each once.
fn add(
    kernel: &Kernel,
    module: &str,
    names: &mut Vec<String>,
    files: &mut Vec<cpio::File>,
) -> Result<()> {
    for (name, path) in closure(kernel, &[module])? {
        if !names.contains(&name) {
            files.push((format!("{name}.ko"), read_module(&path)?));
            names.push(name);
        }
    }
    Ok(())
}
