//! `--rerun-failed`: the part of an earlier report that must run again.

use anyhow::Result;

use super::plan::{self, Plan};
use crate::{
    initramfs::bpf_objects::Programs,
    report::{Report, ScenarioVerdict, tries::to_run_again},
    support::error::usage,
};

/// The scenarios of the report that must run again, and the programs. Those of the report that are not ok must be among them.
pub(crate) fn plan(report: &Report, programs: Programs) -> Result<Plan> {
    let mut ids: Vec<String> = Vec::new();
    for kernel in &report.kernels {
        for id in to_run_again(kernel) {
            if kernel.scenario(&id).is_some() && !ids.contains(&id) {
                ids.push(id);
            }
        }
    }
    let known = |id: &str| programs.planned().iter().any(|planned| planned.id() == id);
    let failed = report.kernels.iter().flat_map(|kernel| &kernel.programs);
    let mut failed = failed.filter(|program| program.verdict == ScenarioVerdict::NotOk);
    if let Some(program) = failed.find(|program| !known(&program.id())) {
        return Err(usage(format!(
            "--rerun-failed: {} is not ok in the report, and is not in this run: give the options for objects and commands \
             of that run again",
            program.name()
        )));
    }
    Ok(Plan {
        planned: match ids.as_slice() {
            [] => Vec::new(),
            ids => plan::select(ids)?,
        },
        programs,
    })
}

/// What must run again on each kernel of the report.
pub(crate) fn parts(report: &Report, plan: &Plan) -> Vec<(String, Plan)> {
    let part = |kernel: &_| plan.only(&to_run_again(kernel));
    let parts = report.kernels.iter();
    let parts = parts.map(|kernel| (kernel.requested.clone(), part(kernel)));
    parts.filter(|(_, plan)| !plan.is_empty()).collect()
}
