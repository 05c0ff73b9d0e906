//! What one kernel's VM is given: the guest, its job, and the modules that its scenarios need.

use std::time::Duration;

use anyhow::{Context as _, Result};
use guest::{
    job::{Job, Work},
    scenario::Scenario,
};

use crate::{
    image,
    kernel::{
        Kernel,
        modules::{closure, read_module},
    },
};

/// The image, and what could not be put into it: a scenario that needs a module which this kernel lacks will say
/// so itself, and the others run.
pub(super) fn pack(
    kernel: &Kernel,
    planned: &[&'static Scenario],
    scenario_timeout: Option<Duration>,
) -> Result<(Vec<u8>, Vec<String>)> {
    let ids = planned.iter().map(|scenario| scenario.id.to_owned());
    let mut job = Job::new(Work::Scenarios {
        ids: ids.collect(),
        timeout_s: scenario_timeout.map(|limit| limit.as_secs()),
    });
    let (mut files, mut warnings) = (Vec::new(), Vec::new());
    for module in planned.iter().flat_map(|scenario| scenario.modules) {
        if let Err(error) = add(kernel, module, &mut job.modules, &mut files) {
            warnings.push(format!("{error:#}"));
        }
    }
    warnings.dedup();
    let image =
        image::build(image::INIT, &job, &files, &[]).context("cannot pack the initramfs")?;
    Ok((image, warnings))
}

/// Adds a module after those that it depends on, each once.
fn add(
    kernel: &Kernel,
    module: &str,
    names: &mut Vec<String>,
    files: &mut Vec<image::File>,
) -> Result<()> {
    for (name, path) in closure(kernel, &[module])? {
        if !names.contains(&name) {
            files.push((format!("{name}.ko"), read_module(&path)?));
            names.push(name);
        }
    }
    Ok(())
}
