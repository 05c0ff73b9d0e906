//! The contents and requirements of an object, as `--json` prints them.

use anyhow::{Context as _, Result};
use fexit::programs::Program;
use fexit::{Helper, KernelTarget, KernelVersion, Requirements};
use protocol::program::TargetSpec;
use serde::Serialize;

use super::on_kernels::{OnKernel, check};
use crate::commands::kernel_files::Files;
use crate::initramfs::bpf_objects::{Object, Target, Targets};
use crate::kernels::Arch;
use crate::report::program::{OtherProgram, other_programs};
use crate::support::error::usage;

/// An object.
#[derive(Debug, Serialize)]
pub(super) struct ObjectInfo {
    pub(super) path: String,
    /// The architecture of the kernels that `minimum` and `requirements` are about.
    pub(super) arch: Arch,
    pub(super) license: String,
    pub(super) programs: Vec<ProgramInfo>,
    pub(super) not_ours: Vec<OtherProgram>,
    pub(super) maps: Vec<MapInfo>,
    pub(super) globals: Vec<GlobalInfo>,
    /// The first kernel that may run all programs.
    pub(super) minimum: Option<String>,
}

/// A program.
#[derive(Debug, Serialize)]
pub(super) struct ProgramInfo {
    pub(super) name: String,
    pub(super) section: String,
    pub(super) kind: String,
    /// As `TRACING` for `BPF_PROG_TYPE_TRACING`.
    pub(super) program_type: &'static str,
    /// As `TRACE_FEXIT` for `BPF_TRACE_FEXIT`; null if the kernel is told none.
    pub(super) attach_type: Option<&'static str>,
    /// Whether the harness attaches it; else it is only loaded.
    pub(super) attached: bool,
    /// Its target from the section or the command line.
    pub(super) target: Option<String>,
    #[serde(rename = "may_sleep")]
    pub(super) is_sleepable: bool,
    pub(super) instructions: usize,
    pub(super) maps: Vec<String>,
    pub(super) helpers: Vec<HelperInfo>,
    pub(super) kfuncs: Vec<String>,
    pub(super) externs: Vec<String>,
    pub(super) core: Vec<CoreInfo>,
    pub(super) requirements: Vec<RequirementInfo>,
    /// The first kernel that may run it; null if none may.
    pub(super) minimum: Option<String>,
    /// What each kernel of `--kernel` lacks; absent without that option.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) kernels: Vec<OnKernel>,
}

#[derive(Debug, Serialize)]
pub(super) struct HelperInfo {
    pub(super) number: u32,
    pub(super) name: String,
    /// Null for a helper that the program may not call on any kernel.
    pub(super) minimum: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct CoreInfo {
    #[serde(rename = "type")]
    pub(super) type_name: String,
    pub(super) member: Option<String>,
    pub(super) what: &'static str,
    pub(super) optional: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct RequirementInfo {
    pub(super) what: String,
    pub(super) minimum: Option<String>,
    pub(super) source: String,
}

#[derive(Debug, Serialize)]
pub(super) struct MapInfo {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) key_size: usize,
    pub(super) value_size: usize,
    pub(super) max_entries: u32,
    /// Its approximate size in the kernel when it is full.
    pub(super) bytes: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct GlobalInfo {
    pub(super) name: String,
    pub(super) section: String,
    pub(super) size: usize,
}

/// Inspects the object with this number, for kernels of an architecture.
pub(super) fn of(
    objects: &[Object],
    number: usize,
    targets: &Targets,
    kernels: &[Files],
    arch: Arch,
) -> Result<ObjectInfo> {
    let object = objects.get(number).context("no such object")?;
    let parsed = &object.parsed;
    let required = parsed
        .requirements(arch.into())
        .map_err(|error| usage(format!("{}: {error}", object.path.display())))?;
    let mut programs = Vec::new();
    let mut minimums = Vec::new();
    for (name, program) in parsed.programs() {
        let Some(required) = required.get(name) else {
            continue;
        };
        let target = match program.is_attachable() {
            true => targets.of(objects, (number, name))?,
            false => required.target.as_ref().map(|target| Target {
                text: target.name.clone(),
                spec: None,
                feature: None,
            }),
        };
        let on = kernel_target(required, target.as_ref());
        let (mut info, minimum) = of_program(program, required, target, arch);
        let of_arch = kernels.iter().filter(|kernel| kernel.kernel.arch == arch);
        let checked = of_arch.map(|kernel| check(kernel, parsed, name, required, on.as_ref()));
        info.kernels = checked.collect::<Result<_>>()?;
        programs.push(info);
        minimums.push(minimum);
    }
    let minimum = minimums.into_iter().reduce(|a, b| Some(a?.max(b?)));
    let minimum = minimum.flatten();
    let maps = parsed.maps().map(|(name, map)| MapInfo {
        name: name.to_owned(),
        kind: map.kind(),
        key_size: map.key_size(),
        value_size: map.value_size(),
        max_entries: map.max_entries(),
        bytes: bytes(map),
    });
    let globals = parsed.global_variables().map(|global| GlobalInfo {
        name: global.name.to_owned(),
        section: global.section.to_owned(),
        size: global.size,
    });
    Ok(ObjectInfo {
        path: object.path.display().to_string(),
        arch,
        license: parsed.license(),
        programs,
        not_ours: other_programs(parsed, |program| !program.is_loadable()),
        maps: maps.collect(),
        globals: globals.collect(),
        minimum: minimum.map(|minimum| minimum.to_string()),
    })
}

/// Inspects a program, and returns the first kernel of the architecture that may run it.
fn of_program(
    program: &Program,
    required: &Requirements,
    target: Option<Target>,
    arch: Arch,
) -> (ProgramInfo, Option<KernelVersion>) {
    let helpers = required.helpers.iter().map(|&number| {
        let helper = Helper::by_number(number);
        HelperInfo {
            number,
            name: helper.map_or_else(|| "unknown".to_owned(), |h| format!("bpf_{}", h.name)),
            minimum: helper
                .and_then(|helper| required.helper_minimum(&helper))
                .map(|minimum| minimum.to_string()),
        }
    });
    let core = required.core.iter().map(|need| CoreInfo {
        type_name: need.type_name.clone(),
        member: need.member.clone(),
        what: need.what,
        optional: need.optional,
    });
    let mut requirements: Vec<_> = required
        .requirements
        .iter()
        .map(|requirement| RequirementInfo {
            what: requirement.what.clone(),
            minimum: requirement.minimum.map(|minimum| minimum.to_string()),
            source: requirement.source.clone(),
        })
        .collect();
    let mut minimum = required.minimum();
    if let Some((feature, what)) = target.as_ref().and_then(|target| target.feature) {
        let of_target = feature.minimum_on(arch.into());
        minimum = minimum.zip(of_target).map(|(own, target)| own.max(target));
        requirements.push(RequirementInfo {
            what: what.to_owned(),
            minimum: of_target.map(|minimum| minimum.to_string()),
            source: format!("feature {feature}"),
        });
    }
    let info = ProgramInfo {
        name: program.name().to_owned(),
        section: program.section().to_owned(),
        kind: program.kind().to_owned(),
        program_type: required.program_type,
        attach_type: required.attach_type,
        attached: program.is_attachable(),
        target: target.map(|target| target.text),
        is_sleepable: required.is_sleepable,
        instructions: required.instructions,
        maps: required.maps.clone(),
        helpers: helpers.collect(),
        kfuncs: required.kfuncs.clone(),
        externs: required.externs.clone(),
        core: core.collect(),
        requirements,
        minimum: minimum.map(|minimum| minimum.to_string()),
        kernels: Vec::new(),
    };
    (info, minimum)
}

/// The target that a kernel must have: that of the command line, or of the section; none if it is a BPF program.
fn kernel_target(required: &Requirements, target: Option<&Target>) -> Option<KernelTarget> {
    match target.and_then(|target| target.spec.as_ref()) {
        None => required.target.clone(),
        Some(TargetSpec::Function(name)) => Some(KernelTarget::parse(required.target_kind?, name)),
        Some(_) => None,
    }
}

/// The size of keys and values, without the kernel's own data.
fn bytes(map: &fexit::Map) -> u64 {
    let element = map.key_size().saturating_add(map.value_size()).max(1) as u64;
    element.saturating_mul(map.max_entries().into())
}
