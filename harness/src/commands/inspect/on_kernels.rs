//! What kernels lack of what a program requires, by their files.

use std::collections::BTreeMap;

use anyhow::Result;
use fexit::{Ebpf, Effect, KernelFiles, KernelTarget, Missing, Requirements};
use serde::Serialize;

use crate::commands::kernel_files::Files;
use crate::kernels::of_module;

/// What one kernel lacks of what a program requires.
#[derive(Debug, Serialize)]
pub(super) struct OnKernel {
    pub(super) kernel: String,
    pub(super) verdict: &'static str,
    pub(super) missing: Vec<MissingInfo>,
}

/// Something that is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct MissingInfo {
    pub(super) kind: &'static str,
    pub(super) name: String,
    /// `refused`, `depends` or `not-attached`.
    pub(super) effect: &'static str,
    pub(super) reason: String,
    /// Similar names that the kernel has.
    pub(super) suggestions: Vec<String>,
}

/// What this kernel lacks.
pub(super) fn check(
    kernel: &Files,
    object: &Ebpf,
    program: &str,
    required: &Requirements,
    target: Option<&KernelTarget>,
) -> Result<OnKernel> {
    let btf = match &kernel.btf {
        Ok(btf) => btf,
        Err(reason) => return Ok(unknown(&kernel.requested, reason)),
    };
    let mut modules = BTreeMap::new();
    if let Some(name) = target.and_then(|target| target.module.as_ref())
        && let Some(module) = of_module(&kernel.kernel, btf, name)?
    {
        modules.insert(name.clone(), module);
    }
    let files = KernelFiles {
        btf,
        modules: &modules,
        config: kernel.config.as_deref(),
    };
    let missing = object.missing(program, required, target, &files)?;
    let verdict = missing.iter().map(|missing| missing.effect).min();
    Ok(OnKernel {
        kernel: kernel.requested.clone(),
        verdict: verdict.map_or("fine", effect),
        missing: missing.into_iter().map(MissingInfo::from).collect(),
    })
}

fn unknown(kernel: &str, reason: &str) -> OnKernel {
    OnKernel {
        kernel: kernel.to_owned(),
        verdict: "unknown",
        missing: vec![MissingInfo {
            kind: "btf",
            name: "BTF".to_owned(),
            effect: "unknown",
            reason: reason.to_owned(),
            suggestions: Vec::new(),
        }],
    }
}

impl From<Missing> for MissingInfo {
    fn from(missing: Missing) -> Self {
        Self {
            kind: missing.kind.name(),
            name: missing.name,
            effect: effect(missing.effect),
            reason: missing.reason,
            suggestions: missing.suggestions,
        }
    }
}

fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::Refused => "refused",
        Effect::NotAttached => "not-attached",
        _ => "depends",
    }
}
