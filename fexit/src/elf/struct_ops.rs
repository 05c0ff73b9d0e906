//! Variables in `.struct_ops` and `.struct_ops.link`: which program is for which member of a struct of the kernel.

use std::collections::{BTreeMap, BTreeSet};

use object::elf::{STT_FUNC, STT_OBJECT, STT_SECTION};

use super::relocations::{Relocations, Symbol};
use super::sections::{Section, malformed, without_mark};
use crate::btf::raw::{Kind, Raw};
use crate::btf::struct_ops::StructOps;
use crate::error::EbpfError;

/// Bytes of a function pointer.
const POINTER: usize = 8;

/// Whether a section has variables of struct types of the kernel. With `?`, libbpf creates no maps for them unless asked.
pub(super) fn is_of_structs(section: &Section) -> bool {
    matches!(
        without_mark(&section.name),
        ".struct_ops" | ".struct_ops.link"
    )
}

/// The variables, and the programs that only those of sections with `?` name.
///
/// What libbpf refuses when it opens the object is an error: a variable without a named struct type, and a member that is
/// no function pointer or is set to something else than a program of type `struct_ops`.
pub(super) fn variables(
    relocations: &Relocations<'_>,
    data: &[u8],
    sections: &[Section],
    btf: &Raw,
) -> Result<(Vec<StructOps>, BTreeSet<String>), EbpfError> {
    let symbols = relocations.symbols();
    let mut variables = BTreeMap::new();
    for symbol in symbols {
        let section = sections.get(symbol.section).filter(|s| is_of_structs(s));
        if let Some(section) = section.filter(|_| symbol.kind == STT_OBJECT) {
            let place = (symbol.section, symbol.start);
            variables.insert(place, variable(symbol, section, data, btf)?);
        }
    }
    let (mut optional, mut required) = (BTreeSet::new(), BTreeSet::new());
    for relocation in relocations.of(is_of_structs)? {
        let (section, offset) = (relocation.section, relocation.offset);
        let place = relocations.variable_at(section, offset);
        let place = place.map(|symbol| (section, symbol.start));
        let variable = place.and_then(|place| Some((place.1, variables.get_mut(&place)?)));
        let (start, variable) = variable.ok_or_else(|| {
            let name = &sections[section].name;
            malformed(format!(
                "section `{name}` refers to `{}` outside of its variables",
                relocation.symbol.name
            ))
        })?;
        let at = usize::try_from(offset - start).unwrap_or(usize::MAX);
        let member = function_pointer(btf, variable.type_id, at).ok_or_else(|| {
            malformed(format!(
                "`{}` sets something that is no function pointer to the address of `{}`",
                variable.name, relocation.symbol.name
            ))
        })?;
        let addend = variable.data.get_mut(at..at + POINTER);
        let addend = addend.map_or(0, |bytes| {
            let addend = bytes
                .iter()
                .rev()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
            bytes.fill(0);
            addend
        });
        let program = program(symbols, sections, relocation.symbol, addend).ok_or_else(|| {
            malformed(format!(
                "`{}` names `{}`, which is no program in a section `struct_ops`",
                variable.name, relocation.symbol.name
            ))
        })?;
        let is_optional = sections[section].name.starts_with('?');
        let of_kind = if is_optional {
            &mut optional
        } else {
            &mut required
        };
        of_kind.insert(program.clone());
        variable.programs.insert(member, program);
    }
    let optional = optional.difference(&required).cloned().collect();
    Ok((variables.into_values().collect(), optional))
}

fn variable(
    symbol: &Symbol,
    section: &Section,
    data: &[u8],
    btf: &Raw,
) -> Result<StructOps, EbpfError> {
    let is_it = |t: &crate::btf::raw::Type<'_>| {
        t.kind == Kind::Var && btf.is_named(t.name_off(), symbol.name.as_bytes())
    };
    let found = btf.types().find(is_it);
    let found = found.and_then(|variable| btf.resolve(variable.size_or_type()));
    let of_struct = found.filter(|t| {
        let name = btf.string(t.name_off());
        t.kind == Kind::Struct && name.is_some_and(|name| !name.is_empty())
    });
    let of_struct = of_struct.ok_or_else(|| {
        malformed(format!(
            "variable `{}` of section `{}` is not of a struct type with a name",
            symbol.name, section.name
        ))
    })?;
    let bytes = data.get(section.file.clone()).unwrap_or_default();
    let start = usize::try_from(symbol.start).unwrap_or(usize::MAX);
    let end = start.saturating_add(of_struct.size_or_type() as usize);
    let bytes = bytes.get(start..end).ok_or_else(|| {
        malformed(format!(
            "variable `{}` ends outside of section `{}`",
            symbol.name, section.name
        ))
    })?;
    Ok(StructOps {
        name: symbol.name.clone(),
        type_id: of_struct.id,
        data: bytes.to_vec(),
        programs: BTreeMap::new(),
    })
}

/// The index of the function pointer at this offset of a struct.
fn function_pointer(btf: &Raw, of_struct: u32, at: usize) -> Option<usize> {
    let of_struct = btf.by_id(of_struct)?;
    let (index, (_, id)) = of_struct
        .members()
        .enumerate()
        .find(|(index, _)| of_struct.member_bits(*index).0 as usize == 8 * at)?;
    let pointer = btf.resolve(id).filter(|t| t.kind == Kind::Ptr)?;
    let function = btf.resolve(pointer.size_or_type())?;
    (function.kind == Kind::FuncProto).then_some(index)
}

/// The program of type `struct_ops` that a symbol names; the symbol of a static one is that of its section.
fn program(
    symbols: &[Symbol],
    sections: &[Section],
    symbol: &Symbol,
    addend: u64,
) -> Option<String> {
    let section = without_mark(&sections.get(symbol.section)?.name);
    let kind = section.split('/').next()?;
    if !["struct_ops", "struct_ops.s"].contains(&kind) {
        return None;
    }
    let start = match symbol.kind {
        STT_SECTION => addend,
        _ => symbol.start,
    };
    let is_it = |s: &&Symbol| (s.kind, s.section, s.start) == (STT_FUNC, symbol.section, start);
    Some(symbols.iter().find(is_it)?.name.clone())
}
