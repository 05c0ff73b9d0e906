//! Reads an object file before `aya-obj` does.
//!
//! aya-obj parses every code section as a program and fails on types that it does not know, drops the part of a section's
//! name after the slash, does not know externs, and does not check offsets in the file. So this module checks the offsets,
//! keeps what aya-obj drops, and [`preprocess`] makes a copy that aya-obj can parse.

pub(crate) mod arena;
pub(crate) mod exceptions;
pub(crate) mod externs;
mod extra;
pub(crate) mod map_values;
mod preprocess;
mod relocations;
mod sections;
mod struct_ops;
mod write;

use std::ffi::CString;

use object::Endianness;
use object::elf::{EM_BPF, STT_FUNC, STT_OBJECT};
use object::read::elf::{FileHeader, SectionHeader};

use crate::btf::core;
use crate::btf::raw::Raw;
use crate::error::EbpfError;
use exceptions::ExceptionCallbacks;
pub(crate) use extra::{Extra, Global};
use relocations::Relocations;
pub(crate) use sections::ARENA_SECTION;
use sections::{Header, Role, Section, elf_error, malformed, sections, without_mark};
pub(crate) use write::{file, patch};

/// Reads the file, and returns a copy that aya-obj can parse.
pub(crate) fn examine(data: &[u8]) -> Result<(Vec<u8>, Extra), EbpfError> {
    let header = Header::parse(data).map_err(elf_error)?;
    let endian = header.endian().map_err(elf_error)?;
    if header.e_machine.get(endian) != EM_BPF {
        return Err(malformed(
            "it is compiled for another machine; build it with `clang -target bpf`",
        ));
    }
    if cfg!(target_endian = "little") != (endian == Endianness::Little) {
        return Err(malformed(
            "it has the other byte order; build it with `-target bpf`, which uses the host's",
        ));
    }
    let table = header.sections(endian, data).map_err(elf_error)?;
    let sections = sections(&table, endian, data)?;
    let mut extra = Extra::default();
    for (index, section) in sections.iter().enumerate() {
        let bytes = data.get(section.file.clone()).unwrap_or_default();
        match section.name.as_str() {
            ".BTF" => extra.btf = bytes.to_vec(),
            ".BTF.ext" => {
                extra.core = core::relocations(bytes)
                    .ok_or_else(|| malformed("its .BTF.ext section is truncated"))?;
            }
            _ => {}
        }
        extra.section_index.insert(section.name.clone(), index);
    }
    let relocations = Relocations::new(&table, endian, data, &sections)?;
    symbols(&relocations, &sections, &mut extra)?;
    let mut copy = data.to_vec();
    preprocess::references(&mut copy, &relocations, &sections, &mut extra)?;
    preprocess::externs(&mut copy, &sections, &extra);
    extra.arena = arena::preprocess(&mut copy, &relocations, data, &sections)?;
    if let Ok(btf) = Raw::parse(extra.btf.clone()) {
        extra.map_values = map_values::values(&relocations, &btf)?;
        let (variables, optional) = struct_ops::variables(&relocations, data, &sections, &btf)?;
        extra.struct_ops = variables;
        extra.optional.extend(optional);
        extra.map_extras = map_values::extras(&btf);
        extra.exception_callbacks = ExceptionCallbacks::new(relocations.symbols(), &sections, &btf);
        preprocess::map_members(&mut copy, &sections, &btf);
    }
    preprocess::hide_programs(&mut copy, header, endian, &sections, &mut extra);
    preprocess::rename_programs(&mut copy, header, endian, &sections);
    let places = Header::parse(&*copy).map_err(elf_error)?;
    let table = places.sections(endian, &*copy).map_err(elf_error)?;
    if let Some(index) = extra.section_index.get(".BTF.ext") {
        let ext = table
            .section(object::SectionIndex(*index))
            .map_err(elf_error)?;
        extra.btf_ext = ext.data(endian, &*copy).map_err(elf_error)?.to_vec();
    }
    if let Some(index) = extra.section_index.get("license") {
        let file = sections[*index].file.clone();
        extra.license = license(data.get(file.clone()).unwrap_or_default());
        preprocess::license(&mut copy, header, endian, *index, file.len());
    }
    Ok((copy, extra))
}

/// The text up to the first NUL.
fn license(section: &[u8]) -> CString {
    let text = section.split(|&byte| byte == 0).next().unwrap_or_default();
    CString::new(text).unwrap_or_default()
}

/// Collects programs and variables, and checks that each symbol is inside its section.
fn symbols(
    relocations: &Relocations<'_>,
    sections: &[Section],
    extra: &mut Extra,
) -> Result<(), EbpfError> {
    for symbol in relocations.symbols() {
        let Some(section) = sections.get(symbol.section) else {
            continue;
        };
        let (name, start, size) = (symbol.name.clone(), symbol.start, symbol.size);
        if start.checked_add(size).is_none_or(|end| end > section.size) {
            return Err(malformed(format!(
                "symbol `{name}` ends outside of section `{}`",
                section.name
            )));
        }
        let unmarked = without_mark(&section.name);
        if symbol.kind == STT_FUNC && unmarked != section.name {
            extra.optional.insert(name.clone());
        }
        match (section.role, symbol.kind) {
            (Role::Program | Role::Aliased, STT_FUNC) => {
                extra.sections.insert(name, unmarked.to_owned());
            }
            (Role::OtherProgram, STT_FUNC) => {
                extra.other_programs.insert(name, unmarked.to_owned());
            }
            (Role::Data | Role::Arena, STT_OBJECT) => {
                let (offset, size) = (start as usize, size as usize);
                let section = section.name.clone();
                extra.globals.insert(
                    name,
                    Global {
                        section,
                        offset,
                        size,
                    },
                );
            }
            _ => {}
        }
    }
    Ok(())
}
