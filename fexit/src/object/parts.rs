//! The part of an object that is relocated: all of it, or one program if another one cannot be relocated.

use std::collections::{HashMap, HashSet};

use aya_obj::Object as Parsed;
use aya_obj::btf::BtfExt;

use super::{Key, Object, parse};
use crate::btf::core::{self, CoreRelocation};
use crate::btf::raw::Raw;
use crate::elf;
use crate::error::ProgramError;

/// The part of an object that is relocated.
pub(super) struct Part {
    /// The program with its subprograms; `None` for all programs.
    only: Option<(String, HashSet<Key>)>,
    /// The CO-RE relocations in them.
    pub(super) core: Vec<CoreRelocation>,
}

impl Object {
    /// All programs.
    pub(super) fn all(&self) -> Part {
        Part {
            only: None,
            core: self.extra.core.clone(),
        }
    }

    /// The program, and the subprograms that it reaches.
    pub(super) fn part(&self, program: &str) -> Result<Part, ProgramError> {
        let reached = self.reached(program)?;
        let local = Raw::parse(self.extra.btf.clone()).ok();
        let is_in = |relocation: &&CoreRelocation| {
            let site = local
                .as_ref()
                .and_then(|local| self.site(local, relocation));
            site.is_some_and(|(function, _)| reached.contains(&function))
        };
        Ok(Part {
            core: self.extra.core.iter().filter(is_in).copied().collect(),
            only: Some((program.to_owned(), reached)),
        })
    }

    /// A copy of that part as it was parsed.
    pub(super) fn copy(&self, part: &Part) -> Result<Parsed, ProgramError> {
        let mut object = self.parsed.clone();
        if let Some((program, functions)) = &part.only {
            object.programs.retain(|name, _| name == program);
            object.functions.retain(|key, _| functions.contains(key));
            object.btf_ext = self.btf_ext(&part.core)?;
        }
        Ok(object)
    }

    /// The functions that a program consists of once it is linked.
    fn reached(&self, program: &str) -> Result<HashSet<Key>, ProgramError> {
        let mut object = self.parsed.clone();
        object.programs.retain(|name, _| name == program);
        let own = object
            .programs
            .get(program)
            .map(aya_obj::Program::function_key);
        let own = own.ok_or(ProgramError::NotLoaded)?;
        self.link_calls(&mut object, true)?;
        let linked = object.functions.get(&own);
        let info = linked.map_or(&[][..], |linked| &linked.func_info.func_info);
        if info.is_empty() {
            // Without BTF the subprograms are not known.
            return Ok(self.parsed.functions.keys().copied().collect());
        }
        let by_type = self.by_type();
        let subprograms = info.iter().filter_map(|info| by_type.get(&info.type_id));
        Ok(subprograms.copied().chain([own]).collect())
    }

    /// The function of each BTF type id.
    pub(crate) fn by_type(&self) -> HashMap<u32, Key> {
        let functions = self.parsed.functions.iter();
        functions
            .filter_map(|(key, function)| {
                Some((function.func_info.func_info.first()?.type_id, *key))
            })
            .collect()
    }

    /// The function that a relocation is in, and the index of the instruction there.
    pub(crate) fn site(&self, local: &Raw, relocation: &CoreRelocation) -> Option<(Key, usize)> {
        let section = local.string(relocation.section_name)?;
        let section = String::from_utf8_lossy(section);
        let section = *self.extra.section_index.get(section.as_ref())?;
        let at = u64::from(relocation.insn_off);
        // The last function of the section that begins at or before the instruction.
        let functions = self.parsed.functions.range((section, 0)..=(section, at));
        let (key, function) = functions.last()?;
        let instruction = (relocation.insn_off as usize).checked_sub(function.section_offset)? / 8;
        (instruction < function.instructions.len()).then_some((*key, instruction))
    }

    /// These relocations as aya-obj parses them, from a file that has nothing else.
    fn btf_ext(&self, relocations: &[CoreRelocation]) -> Result<Option<BtfExt>, ProgramError> {
        let Some(btf) = &self.parsed.btf else {
            return Ok(None);
        };
        let mut ext = self.extra.btf_ext.clone();
        let mut all = self.extra.core.iter().filter(|r| r.is_of_member());
        core::retain(&mut ext, |_| {
            all.next().is_some_and(|r| relocations.contains(r))
        });
        let file = elf::file(&[(".BTF", &btf.to_bytes()), (".BTF.ext", &ext)]);
        let parsed = parse(&file).map_err(|error| ProgramError::Relocation {
            reason: error.to_string(),
        })?;
        Ok(parsed.btf_ext)
    }
}
