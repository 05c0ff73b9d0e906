//! What a kernel lacks of the requirements of a program, by the kernel's types and configuration. No kernel is asked.

use std::collections::{BTreeMap, BTreeSet};

use super::{KernelTarget, Requirements, TargetKind};
use crate::Ebpf;
use crate::btf::{Btf, BtfError};
use crate::compat::{self, Helper};
use crate::elf::externs::Extern;
use crate::error::ProgramError;
use crate::object::relocation_sites;

/// What is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum MissingKind {
    /// The program type.
    ProgramType,
    /// The attach type.
    AttachType,
    /// The target.
    Target,
    /// A helper.
    Helper,
    /// A kernel function that the program calls.
    Kfunc,
    /// The type of a map that the program uses.
    MapType,
    /// A type, field or enum value that a CO-RE relocation names.
    Core,
    /// An option of the kernel's configuration.
    Option,
}

impl MissingKind {
    /// Its name: `program-type`, `target`, `helper` and so on.
    pub fn name(self) -> &'static str {
        match self {
            Self::ProgramType => "program-type",
            Self::AttachType => "attach-type",
            Self::Target => "target",
            Self::Helper => "helper",
            Self::Kfunc => "kfunc",
            Self::MapType => "map-type",
            Self::Core => "core",
            Self::Option => "option",
        }
    }
}

/// What follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Effect {
    /// The program cannot be loaded.
    Refused,
    /// The program cannot be loaded, unless it does not reach the instruction, or a module has it.
    Depends,
    /// The program can be loaded, and probably not be attached.
    NotAttached,
}

/// Something that a program requires and a kernel lacks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Missing {
    /// What follows.
    pub effect: Effect,
    /// What it is.
    pub kind: MissingKind,
    /// Its name.
    pub name: String,
    /// Why it is missing, or what is not certain.
    pub reason: String,
    /// Similar names that this kernel has.
    pub suggestions: Vec<String>,
}

/// A kernel, as its files describe it.
#[derive(Debug)]
pub struct KernelFiles<'a> {
    /// Its BTF.
    pub btf: &'a Btf,
    /// The BTF of modules, by their names: all those that targets are in, as far as they have any.
    pub modules: &'a BTreeMap<String, Btf>,
    /// The text of its configuration.
    pub config: Option<&'a str>,
}

impl Missing {
    fn new(effect: Effect, kind: MissingKind, name: impl Into<String>, reason: &str) -> Self {
        Self {
            effect,
            kind,
            name: name.into(),
            reason: reason.to_owned(),
            suggestions: Vec::new(),
        }
    }
}

impl Ebpf {
    /// What a kernel lacks of what `required`, the [requirements](Self::requirements) of `program`, says, by the kernel's
    /// types and configuration, not by its version. `target` is that of the section, or another one.
    ///
    /// Something that is missing is really not there. The other way round there is no proof: the verifier, the deny list
    /// and the symbol table of a kernel are not in its types.
    ///
    /// # Errors
    ///
    /// [`ProgramError::Relocation`] when the parts of the object do not fit together, [`ProgramError::Btf`] when the
    /// kernel's BTF cannot be read.
    pub fn missing(
        &self,
        program: &str,
        required: &Requirements,
        target: Option<&KernelTarget>,
        kernel: &KernelFiles<'_>,
    ) -> Result<Vec<Missing>, ProgramError> {
        let externs = &self.shared.object.extra.externs;
        let check = Check {
            required,
            kernel,
            is_guarded: required.core.iter().any(|core| core.optional)
                || !required.externs.is_empty()
                || required.maps.iter().any(|map| map.starts_with(".rodata"))
                || externs.iter().any(|e| e.is_weak),
        };
        let mut found = check.types();
        found.extend(
            target
                .map(|target| check.target(target))
                .transpose()?
                .flatten(),
        );
        found.extend(check.security_modules());
        found.extend(check.helpers());
        found.extend(check.never());
        found.extend(check.kfuncs(externs)?);
        let maps = self.shared.maps.iter();
        let maps = maps.filter(|map| required.maps.iter().any(|name| name == map.name()));
        found.extend(maps.flat_map(|map| check.map(map.name(), map.map_type())));
        if !required.core.is_empty() {
            found.extend(self.missing_core(program, &check)?);
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    fn missing_core(&self, program: &str, check: &Check<'_>) -> Result<Vec<Missing>, ProgramError> {
        let kernel = check.kernel.btf;
        let sites = match self.shared.object.relocated_offline(program, kernel) {
            Ok(relocated) => relocation_sites::poisoned(&self.shared.object, &relocated),
            Err(ProgramError::Relocation { reason }) => {
                let name = "a CO-RE relocation";
                let missing = Missing::new(Effect::Refused, MissingKind::Core, name, &reason);
                return Ok(vec![missing]);
            }
            Err(error) => return Err(error),
        };
        let missing = |relocation: &crate::CoreRelocationInfo| {
            let (_, bare) = relocation
                .type_name
                .split_once(' ')
                .unwrap_or(("", &relocation.type_name));
            let bare = bare.split("___").next().unwrap_or(bare);
            let (effect, reason) = match kernel.has_type(bare)? {
                false => (
                    Effect::Depends,
                    "the kernel itself has no such type; a module may have it",
                ),
                true => (
                    check.of_instruction(),
                    check.words("the kernel's type has none"),
                ),
            };
            Ok(Missing::new(
                effect,
                MissingKind::Core,
                relocation.to_string(),
                reason,
            ))
        };
        let sites = sites.iter().filter(|site| !site.relocation.optional);
        let found: Result<_, BtfError> = sites.map(|site| missing(&site.relocation)).collect();
        Ok(found?)
    }
}

struct Check<'a> {
    required: &'a Requirements,
    kernel: &'a KernelFiles<'a>,
    /// Whether the program may ask first, and so not reach an instruction that this kernel lacks.
    is_guarded: bool,
}

impl Check<'_> {
    /// The effect of an instruction that the kernel lacks.
    fn of_instruction(&self) -> Effect {
        match self.is_guarded {
            true => Effect::Depends,
            false => Effect::Refused,
        }
    }

    fn words(&self, reason: &'static str) -> &'static str {
        match self.is_guarded {
            true => "the kernel has none; the program may ask first, and not reach it",
            false => reason,
        }
    }

    /// Whether an enum of the kernel lacks a value; no if the enum is not there.
    fn lacks(&self, values: &str, name: &str) -> bool {
        let known = self.kernel.btf.enum_values(values);
        !known.is_empty() && !known.contains(name.as_bytes())
    }

    fn types(&self) -> Vec<Missing> {
        let required = self.required;
        let mut found = Vec::new();
        let prog_type = format!("BPF_PROG_TYPE_{}", required.program_type);
        if self.lacks("bpf_prog_type", &prog_type) {
            let reason = "enum bpf_prog_type has no such value";
            let kind = MissingKind::ProgramType;
            found.push(Missing::new(Effect::Refused, kind, prog_type, reason));
        }
        if let Some(attach_type) = required.attach_type {
            let name = format!("BPF_{attach_type}");
            if self.lacks("bpf_attach_type", &name) {
                let reason = "enum bpf_attach_type has no such value";
                let kind = MissingKind::AttachType;
                found.push(Missing::new(Effect::Refused, kind, name, reason));
            }
        }
        found.extend(self.options(compat::options_of_program_type(required.program_type)));
        found
    }

    fn options(&self, options: &[&'static str]) -> Vec<Missing> {
        let Some(config) = self.kernel.config else {
            return Vec::new();
        };
        let set: BTreeSet<&str> = config
            .lines()
            .filter_map(|line| line.strip_prefix("CONFIG_")?.split_once('='))
            .map(|(name, _)| name)
            .collect();
        let unset = options.iter().filter(|option| !set.contains(*option));
        let missing = |option: &&str| {
            let reason = "the kernel was built without it";
            let name = format!("CONFIG_{option}");
            Missing::new(Effect::Refused, MissingKind::Option, name, reason)
        };
        unset.map(missing).collect()
    }

    /// Programs on hooks run only if `bpf` is one of the security modules.
    fn security_modules(&self) -> Option<Missing> {
        let config = self.kernel.config?;
        let list = config
            .lines()
            .find_map(|line| line.strip_prefix("CONFIG_LSM="))?;
        let is_listed = list.trim_matches('"').split(',').any(|name| name == "bpf");
        let is_on_hook = self.required.attach_type == Some("LSM_MAC");
        (is_on_hook && !is_listed).then(|| {
            let reason =
                "`bpf` is not in that list, so programs on hooks never run; boot with lsm=LIST,bpf";
            Missing::new(
                Effect::NotAttached,
                MissingKind::Option,
                "CONFIG_LSM",
                reason,
            )
        })
    }

    /// What no kernel grants.
    fn never(&self) -> Vec<Missing> {
        let all = self.required.requirements.iter();
        let never = all.filter(|requirement| requirement.minimum.is_none());
        let missing = |requirement: &super::Requirement| {
            let reason = format!("no kernel allows that ({})", requirement.source);
            let kind = MissingKind::Helper;
            Missing::new(self.of_instruction(), kind, &requirement.what, &reason)
        };
        never.map(missing).collect()
    }

    fn helpers(&self) -> Vec<Missing> {
        let known = self.kernel.btf.enum_values("bpf_func_id");
        let helpers = self.required.helpers.iter();
        let helpers = helpers.filter_map(|&number| Helper::by_number(number));
        let absent = helpers.filter(|helper| {
            !known.is_empty() && !known.contains(format!("BPF_FUNC_{}", helper.name).as_bytes())
        });
        let missing = |helper: Helper| {
            let reason = self.words("enum bpf_func_id has no such value");
            let name = format!("bpf_{}", helper.name);
            Missing::new(self.of_instruction(), MissingKind::Helper, name, reason)
        };
        absent.map(missing).collect()
    }

    fn kfuncs(&self, externs: &[Extern]) -> Result<Vec<Missing>, BtfError> {
        let is_weak = |name: &str| externs.iter().any(|e| e.name == name && e.is_weak);
        let mut found = Vec::new();
        for name in self.required.kfuncs.iter().filter(|name| !is_weak(name)) {
            if self.kernel.btf.lists_any(name)? {
                continue;
            }
            // What is known here is in no module.
            let (effect, reason) = match compat::kfunc(name).is_some() {
                true => (Effect::Refused, "the kernel's BTF lists no such function"),
                false => (
                    Effect::Depends,
                    "the kernel's BTF lists no such function; a module may have it",
                ),
            };
            found.push(Missing::new(effect, MissingKind::Kfunc, name, reason));
        }
        Ok(found)
    }

    fn map(&self, map: &str, number: u32) -> Vec<Missing> {
        let Some((name, _)) = compat::map_type(number) else {
            return Vec::new();
        };
        let value = format!("BPF_MAP_TYPE_{}", name.to_ascii_uppercase());
        // The enum keeps the old names of types that were renamed (6.2 and 6.6).
        let mut found = Vec::new();
        if self.lacks("bpf_map_type", &value) {
            let reason =
                format!("enum bpf_map_type has no such value; it is the type of the map {map}");
            found.push(Missing::new(
                Effect::Refused,
                MissingKind::MapType,
                value,
                &reason,
            ));
        }
        found.extend(self.options(compat::options_of_map_type(name)));
        found
    }

    fn target(&self, target: &KernelTarget) -> Result<Option<Missing>, BtfError> {
        let name = target.name.as_str();
        let btf = match &target.module {
            None => self.kernel.btf,
            Some(module) => match self.kernel.modules.get(module) {
                Some(btf) => btf,
                None => return Ok(Some(without_module(target, module))),
            },
        };
        let found = match target.kind {
            TargetKind::Function => return function(btf, target),
            TargetKind::Functions | TargetKind::Probe | TargetKind::Probes => {
                btf.lists_any(name)?
            }
            TargetKind::Hook => btf.lists_any(&format!("bpf_lsm_{name}"))?,
            TargetKind::Iterator => btf.lists_any(&format!("bpf_iter_{name}"))?,
            TargetKind::BtfTracePoint => btf.has_tracepoint(name)?,
            TargetKind::TracePoint => {
                let (category, event) = name.rsplit_once('/').unwrap_or(("", name));
                category == "syscalls" || btf.has_tracepoint(event)? || !btf.has_tracepoints()?
            }
            TargetKind::SystemCall => {
                let of_call = ["__x64_sys_", "__do_sys_", "__se_sys_"];
                let mut listed = of_call.iter().map(|p| btf.lists_any(&format!("{p}{name}")));
                listed.try_fold(false, |any, one| one.map(|one| any || one))?
            }
        };
        Ok((!found).then(|| not_found(btf, target)))
    }
}

/// A function must be listed, once.
fn function(btf: &Btf, target: &KernelTarget) -> Result<Option<Missing>, BtfError> {
    let name = target.name.as_str();
    let listed = btf.list_functions(&[name])?;
    Ok(match listed.as_slice() {
        [] => Some(not_found(btf, target)),
        [_] => None,
        duplicates => {
            let all: Vec<_> = duplicates.iter().map(|f| f.prototype.as_str()).collect();
            let reason = format!("the name is ambiguous: {}", all.join("; "));
            Some(Missing::new(
                Effect::Refused,
                MissingKind::Target,
                name,
                &reason,
            ))
        }
    })
}

fn not_found(btf: &Btf, target: &KernelTarget) -> Missing {
    let name = target.name.as_str();
    let (reason, suggestions) = match target.kind {
        TargetKind::BtfTracePoint | TargetKind::TracePoint => (
            "the kernel itself, without its modules, has no such tracepoint in its BTF",
            btf.similar_tracepoints(name.rsplit('/').next().unwrap_or(name)),
        ),
        TargetKind::Hook => ("BTF lists no function bpf_lsm_NAME for it", Vec::new()),
        TargetKind::Iterator => ("BTF lists no function bpf_iter_NAME for it", Vec::new()),
        _ => (
            "BTF lists no such function: it does not exist, was inlined, has only changed copies \
             (.isra, .constprop, .part), or is written in assembly",
            btf.similar_functions(name),
        ),
    };
    let effect = match target.kind.is_for_load() {
        true => Effect::Refused,
        false => Effect::NotAttached,
    };
    Missing {
        suggestions,
        ..Missing::new(effect, MissingKind::Target, name, reason)
    }
}

fn without_module(target: &KernelTarget, module: &str) -> Missing {
    let name = format!("{module}:{}", target.name);
    let reason = "there is no BTF of that module: it is built in, does not exist, or was built without BTF \
                  (CONFIG_DEBUG_INFO_BTF_MODULES, Linux 5.11)";
    Missing::new(Effect::Depends, MissingKind::Target, name, reason)
}
