//! What a kernel lacks of the requirements of a program, by the kernel's types and configuration. No kernel is asked.

mod check;
mod target;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::{KernelTarget, Requirements};
use crate::Ebpf;
use crate::btf::{Btf, BtfError};
use crate::error::ProgramError;
use crate::object::relocation_sites;
use check::Check;

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
        if let Some(target) = target {
            found.extend(self.missing_target(program, target, &check)?);
            found.extend(check.options_to_attach());
        }
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
