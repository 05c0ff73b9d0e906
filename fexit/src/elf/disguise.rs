//! Changes to a copy of an object file that let a parser read it which does not know all that is in it.
//!
//! Every change keeps its place and length, so that no offset moves; `rename` does what takes more room.

use std::collections::{HashMap, HashSet};

use aya_obj::generated::{BPF_PSEUDO_BTF_ID, BPF_PSEUDO_KFUNC_CALL};
use object::Endianness;
use object::elf::{Rel64, SHN_UNDEF, SHT_REL, SHT_SYMTAB, STB_WEAK};
use object::read::elf::{SectionHeader, SectionTable, Sym};

use super::externs::{self, Extern};
use super::{Extra, Header, Role, Section, elf_error, header_field, patch};
use crate::btf::core::{self, CoreRelocation};
use crate::btf::raw::{Kind, Raw, Type};
use crate::error::EbpfError;

/// `call` with a function's number behind it; whose, its source register says.
const CALL: u8 = 0x85;

/// The first half of a 64-bit constant; what it stands for, its source register says.
const LD_IMM64: u8 = 0x18;

/// `BTF_KIND_STRUCT`.
const STRUCT: u32 = 4;

/// Where `sh_flags` stands in a section's header.
const FLAGS_AT: usize = 8;

/// Hides programs of kinds that nothing here can load, and the CO-RE relocations that it is not to apply.
pub(super) fn kinds(
    copy: &mut [u8],
    header: &Header,
    endian: Endianness,
    sections: &[Section],
    extra: &mut Extra,
) {
    let mut hidden = HashSet::new();
    for (index, section) in sections.iter().enumerate() {
        if section.role == Role::Foreign {
            // No longer a code section.
            patch(copy, header_field(header, endian, index, FLAGS_AT), &[0; 8]);
            hidden.insert(section.name.as_bytes());
        }
    }
    let Ok(local) = Raw::parse(extra.btf.clone()) else {
        return;
    };
    // The parser looks for the function of each relocation.
    let is_hidden = |relocation: &CoreRelocation| {
        let name = local.string(relocation.section_name);
        name.is_some_and(|name| hidden.contains(name))
    };
    extra.core.retain(|relocation| !is_hidden(relocation));
    let ext = sections.iter().find(|section| section.name == ".BTF.ext");
    if let Some(ext) = ext.and_then(|section| copy.get_mut(section.file.clone())) {
        core::retain(ext, |relocation| {
            relocation.is_of_member() && !is_hidden(relocation)
        });
    }
}

/// Makes the types of what lies outside the object harmless.
///
/// Functions and variables of the kernel stand in the BTF in sections of their own (`.ksyms`, `.kconfig`) that the file
/// does not have. The parser gives up on such a section, and older kernels on the linkage.
pub(super) fn externs(copy: &mut [u8], sections: &[Section], extra: &Extra) {
    const EXTERN: u32 = 2;
    let Some(btf) = sections.iter().find(|section| section.name == ".BTF") else {
        return;
    };
    let Ok(raw) = Raw::parse(extra.btf.clone()) else {
        return;
    };
    let start = raw.bytes().as_ptr() as usize;
    let at =
        |t: &Type<'_>, word: usize| btf.file.start + t.bytes.as_ptr() as usize - start + 4 * word;
    let integer = raw.types().find(|t| t.kind == Kind::Int);
    for t in raw.types() {
        match t.kind {
            // Linkage: static.
            Kind::Func if t.word(1) & 0xffff == EXTERN => {
                patch(copy, at(&t, 1), &(t.word(1) & !0xffff).to_ne_bytes());
            }
            // Linkage: global.
            Kind::Var if t.extra(0) == EXTERN => patch(copy, at(&t, 3), &1u32.to_ne_bytes()),
            Kind::DataSec => {
                let outside = raw.is_named(t.name_off(), b".ksyms")
                    || raw.is_named(t.name_off(), b".kconfig");
                let Some(integer) = integer.filter(|_| outside) else {
                    continue;
                };
                // A struct is as long: of integers without names, all in one place.
                let info = t.word(1) & 0xffff | STRUCT << 24;
                for (word, value) in [(0, 0), (1, info), (2, integer.size_or_type())] {
                    patch(copy, at(&t, word), &u32::to_ne_bytes(value));
                }
                for member in 0..t.vlen() {
                    let words = [0, integer.id, 0u32].map(u32::to_ne_bytes).concat();
                    patch(copy, at(&t, 3 + 3 * member), &words);
                }
            }
            _ => {}
        }
    }
}

/// Marks the instructions that refer to something outside the object, which the parser takes for functions that are
/// missing, or passes by.
pub(super) fn references(
    copy: &mut [u8],
    table: &SectionTable<'_, Header>,
    endian: Endianness,
    data: &[u8],
    sections: &[Section],
    extra: &mut Extra,
) -> Result<(), EbpfError> {
    let symbols = table.symbols(endian, data, SHT_SYMTAB).map_err(elf_error)?;
    let local = Raw::parse(extra.btf.clone()).ok();
    let mut numbers = HashMap::new();
    for raw in table
        .iter()
        .filter(|section| section.sh_type(endian) == SHT_REL)
    {
        let target = sections.get(raw.info_link(endian).0);
        let Some(code) = target.filter(|section| section.role.is_code()) else {
            continue;
        };
        let relocations: &[Rel64<Endianness>] =
            raw.data_as_array(endian, data).map_err(elf_error)?;
        for relocation in relocations {
            let index = object::SymbolIndex(relocation.r_sym(endian) as usize);
            let Ok(symbol) = symbols.symbol(index) else {
                continue;
            };
            let offset = relocation.r_offset.get(endian) as usize;
            let at = code.file.start.checked_add(offset);
            let Some(at) = at.filter(|at| code.file.contains(at)) else {
                continue;
            };
            let (is_called, mark) = match copy.get(at) {
                _ if symbol.st_shndx(endian) != SHN_UNDEF => continue,
                Some(&CALL) => (true, BPF_PSEUDO_KFUNC_CALL),
                Some(&LD_IMM64) => (false, BPF_PSEUDO_BTF_ID),
                _ => continue,
            };
            let name = symbol.name(endian, symbols.strings()).unwrap_or_default();
            let name = String::from_utf8_lossy(name).into_owned();
            let number = *numbers.entry(name).or_insert_with_key(|name| {
                extra.externs.push(Extern {
                    name: name.clone(),
                    is_weak: symbol.st_bind() == STB_WEAK,
                    kind: externs::kind(local.as_ref(), name, is_called),
                });
                extra.externs.len() - 1
            });
            let destination = copy.get(at + 1).map_or(0, |registers| registers & 0xf);
            patch(copy, at + 1, &[(mark as u8) << 4 | destination]);
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            patch(copy, at + 4, &number.to_ne_bytes());
        }
    }
    Ok(())
}
