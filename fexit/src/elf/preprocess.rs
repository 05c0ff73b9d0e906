//! Changes to a copy of an object file that let `aya-obj` parse it.
//!
//! Each function names the line of aya-obj 0.3.0 that makes it necessary. Data that keeps its length is changed in place, so
//! that offsets stay valid; longer data is appended to the file.

use std::collections::{HashMap, HashSet};

use aya_obj::generated::{BPF_PSEUDO_BTF_ID, BPF_PSEUDO_KFUNC_CALL};
use object::Endianness;
use object::read::elf::FileHeader as _;

use super::externs::{self, Extern};
use super::extra::Extra;
use super::map_values;
use super::relocations::Relocations;
use super::sections::{Header, Role, Section};
use super::write::patch;
use crate::btf::core::{self, CoreRelocation};
use crate::btf::raw::{Kind, Raw, Type};
use crate::error::EbpfError;

/// Where `sh_name`, `sh_flags`, `sh_offset` and `sh_size` are in a section's header.
const NAME_AT: usize = 0;
const FLAGS_AT: usize = 8;
const OFFSET_AT: usize = 24;
const SIZE_AT: usize = 32;

/// `call`; its source register tells whether it calls a helper, a subprogram or a kernel function.
const CALL: u8 = 0x85;

/// The first half of a 64-bit constant; its source register tells what the constant is.
const LD_IMM64: u8 = 0x18;

/// `BTF_KIND_STRUCT`.
const STRUCT: u32 = 4;

/// Hides programs that this library cannot load, and the CO-RE relocations that aya-obj must not apply.
///
/// aya-obj fails on a section of an unknown program type (obj.rs:455, `InvalidProgramSection`), so such a section loses
/// the flag that marks it as code. It then fails to find the function of each relocation in it
/// (btf/relocation.rs:309, `FunctionNotFound`). It does not know `BPF_CORE_TYPE_MATCHES` (btf/relocation.rs:187,
/// `InvalidRelocationKind`); `object::core` applies all type-based relocations.
pub(super) fn hide_programs(
    copy: &mut [u8],
    header: &Header,
    endian: Endianness,
    sections: &[Section],
    extra: &mut Extra,
) {
    let mut hidden = HashSet::new();
    for (index, section) in sections.iter().enumerate() {
        if section.role == Role::OtherProgram {
            // Clears the flag for code.
            patch(copy, header_field(header, endian, index, FLAGS_AT), &[0; 8]);
            hidden.insert(section.name.as_bytes());
        }
    }
    let Ok(local) = Raw::parse(extra.btf.clone()) else {
        return;
    };
    // aya-obj looks up the function of each relocation.
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

/// Replaces the types of externs by types that aya-obj and the kernel accept.
///
/// BTF lists functions and variables of the kernel in the sections `.ksyms` and `.kconfig`, which the file does not
/// have. aya-obj fails on such a section (btf/btf.rs:590, `UnknownSectionSize`). It leaves the linkage "extern" of
/// functions and variables, which the kernel refuses (`btf_func_check_meta` and `btf_var_check_meta` in
/// kernel/bpf/btf.c), as it refuses names of sections that begin with `?` before Linux 6.9.
pub(super) fn externs(copy: &mut [u8], sections: &[Section], extra: &Extra) {
    const EXTERN: u32 = 2;
    let Some(btf) = sections.iter().find(|section| section.name == ".BTF") else {
        return;
    };
    let Ok(raw) = Raw::parse(extra.btf.clone()) else {
        return;
    };
    let at = |t: &Type<'_>, word: usize| btf.file.start + raw.position(t) + 4 * word;
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
                let name = raw.string(t.name_off()).unwrap_or_default();
                let outside = name == b".ksyms" || name == b".kconfig" || name.starts_with(b"?");
                let Some(integer) = integer.filter(|_| outside) else {
                    continue;
                };
                // A struct of the same length, whose members are unnamed integers at offset 0.
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

/// Takes the names of members of map definitions that aya-obj fails on; it ignores members that it does not know.
pub(super) fn map_members(copy: &mut [u8], sections: &[Section], raw: &Raw) {
    let Some(btf) = sections.iter().find(|section| section.name == ".BTF") else {
        return;
    };
    for (map, word) in map_values::unknown_members(raw) {
        let at = btf.file.start + raw.position(&map) + 4 * word;
        patch(copy, at, &[0; 4]);
    }
}

/// Marks the instructions that refer to an extern, and puts the extern's number into them.
///
/// aya-obj takes a call of an extern for a call of a function of the object (relocation.rs:423, `UnknownFunction`) and
/// leaves a reference to a variable as it is (relocation.rs:377). It does not touch marked instructions.
pub(super) fn references(
    copy: &mut [u8],
    relocations: &Relocations<'_>,
    sections: &[Section],
    extra: &mut Extra,
) -> Result<(), EbpfError> {
    let local = Raw::parse(extra.btf.clone()).ok();
    let mut numbers = HashMap::new();
    let all = relocations
        .of(|section| section.role.is_code())?
        .into_iter();
    for relocation in all.filter(|relocation| relocation.symbol.is_undefined()) {
        let code = &sections[relocation.section];
        let offset = relocation.offset as usize;
        let at = code.file.start.checked_add(offset);
        let Some(at) = at.filter(|at| code.file.contains(at)) else {
            continue;
        };
        let (is_called, mark) = match copy.get(at) {
            Some(&CALL) => (true, BPF_PSEUDO_KFUNC_CALL),
            Some(&LD_IMM64) => (false, BPF_PSEUDO_BTF_ID),
            _ => continue,
        };
        let symbol = relocation.symbol;
        let number = *numbers.entry(&symbol.name).or_insert_with_key(|name| {
            extra.externs.push(Extern {
                name: (*name).clone(),
                is_weak: symbol.is_weak,
                kind: externs::kind(local.as_ref(), name, is_called),
            });
            extra.externs.len() - 1
        });
        let destination = copy.get(at + 1).map_or(0, |registers| registers & 0xf);
        patch(copy, at + 1, &[(mark as u8) << 4 | destination]);
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        patch(copy, at + 4, &number.to_ne_bytes());
    }
    Ok(())
}

/// The new name of a section, which is that of an fexit program.
fn alias(section: &Section) -> String {
    format!("fexit/{}", section.name)
}

/// Renames sections of program types that aya-obj does not know but that load like fexit programs, in the file and in
/// its BTF.
///
/// aya-obj takes the program type from the section's name (obj.rs:290, `ProgramSection::from_str`) and knows neither
/// `fsession`, nor `.multi`, `tc`, a bare `cgroup_skb`, nor the `?` of optional programs. The new names go into string
/// tables at the end of the file: clang keeps the names of sections and symbols in one table, where one may be the
/// tail of another (`session` of `fsession`), and a section and a function of one name share a string in the BTF. So no
/// name is overwritten.
pub(super) fn rename_programs(
    copy: &mut Vec<u8>,
    header: &Header,
    endian: Endianness,
    sections: &[Section],
) {
    let renamed = || {
        let all = sections.iter().enumerate();
        all.filter(|(_, section)| section.role == Role::Aliased)
    };
    if renamed().next().is_none() {
        return;
    }
    let names = usize::from(header.e_shstrndx(endian));
    if let Some(table) = sections.get(names) {
        let mut strings = copy.get(table.file.clone()).unwrap_or_default().to_vec();
        for (index, section) in renamed() {
            let at = append(&mut strings, &alias(section)).to_ne_bytes();
            patch(copy, header_field(header, endian, index, NAME_AT), &at);
        }
        replace(copy, header, endian, names, &strings);
    }
    let find = |name| sections.iter().position(|section| section.name == name);
    if let (Some(btf), Some(ext)) = (find(".BTF"), find(".BTF.ext")) {
        let mut types = copy
            .get(sections[btf].file.clone())
            .unwrap_or_default()
            .to_vec();
        for (_, section) in renamed() {
            let Some(ext) = copy.get_mut(sections[ext].file.clone()) else {
                continue;
            };
            alias_in_btf(&mut types, ext, section);
        }
        replace(copy, header, endian, btf, &types);
    }
}

/// Adds a string to a table of strings; returns its offset.
fn append(strings: &mut Vec<u8>, name: &str) -> u32 {
    let at = u32::try_from(strings.len()).unwrap_or(0);
    strings.extend(name.as_bytes());
    strings.push(0);
    at
}

/// Replaces the license by a text that aya-obj accepts; `Extra` keeps the object's own.
///
/// aya-obj fails on an empty license, and on one whose NUL is not the section's last byte (obj.rs:1150,
/// `parse_license`).
pub(super) fn license(
    copy: &mut Vec<u8>,
    header: &Header,
    endian: Endianness,
    index: usize,
    len: usize,
) {
    let mut text = vec![b'-'; len.max(2)];
    text.last_mut().into_iter().for_each(|last| *last = 0);
    replace(copy, header, endian, index, &text);
}

/// Appends the new contents of section `index` to the file, so that other offsets stay valid.
fn replace(copy: &mut Vec<u8>, header: &Header, endian: Endianness, index: usize, contents: &[u8]) {
    copy.resize(copy.len().next_multiple_of(8), 0);
    let offset = copy.len() as u64;
    copy.extend(contents);
    for (field, value) in [(OFFSET_AT, offset), (SIZE_AT, contents.len() as u64)] {
        let at = header_field(header, endian, index, field);
        patch(copy, at, &value.to_ne_bytes());
    }
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?) as usize)
}

/// Adds the section's new name to the BTF, and makes `.BTF.ext` refer to it.
fn alias_in_btf(btf: &mut Vec<u8>, ext: &mut [u8], section: &Section) -> Option<()> {
    let strings = word(btf, 4)?.checked_add(word(btf, 16)?)?;
    // The kernel also requires the strings to come last.
    let length = btf.len().checked_sub(strings)?;
    if word(btf, 20)? != length {
        return None;
    }
    let name = [section.name.as_bytes(), b"\0"].concat();
    let mut at = None;
    for place in section_names(ext) {
        let old = strings.checked_add(word(ext, place)?)?;
        if !btf.get(old..)?.starts_with(&name) {
            continue;
        }
        let new = *at.get_or_insert_with(|| append(btf, &alias(section)) - strings as u32);
        patch(ext, place, &new.to_ne_bytes());
    }
    let length = u32::try_from(btf.len() - strings).ok()?;
    patch(btf, 20, &length.to_ne_bytes());
    Some(())
}

/// The positions of section names in `.BTF.ext`: in the information on functions and lines, and in CO-RE relocations.
fn section_names(ext: &[u8]) -> Vec<usize> {
    let mut positions = Vec::new();
    let header = word(ext, 4).unwrap_or(0);
    for field in [8, 16, 24].into_iter().filter(|field| field + 8 <= header) {
        let mut part = || {
            let start = header.checked_add(word(ext, field)?)?;
            let end = start.checked_add(word(ext, field + 4)?)?;
            let size = word(ext, start)?;
            let mut at = start + 4;
            while at < end {
                let records = word(ext, at + 4)?.checked_mul(size)?;
                positions.push(at);
                at = at.checked_add(8)?.checked_add(records)?;
            }
            Some(())
        };
        part();
    }
    positions
}

/// Offset of a field in the header of section `index`, in the file.
fn header_field(header: &Header, endian: Endianness, index: usize, field: usize) -> usize {
    let size = usize::from(header.e_shentsize.get(endian));
    (header.e_shoff.get(endian) as usize).saturating_add(index * size + field)
}

#[cfg(test)]
mod tests {
    use crate::btf::raw::{Kind, Raw};
    use crate::object::{Globals, Object};
    use crate::testing::compile;

    #[test]
    fn extern_linkage_is_replaced() {
        const EXTERN: u32 = 2;
        let source = "#define KSYM __attribute__((section(\".ksyms\")))
            extern int function(u64 a) KSYM;
            extern const int variable KSYM;
            SEC(\"fexit/f\") int probe(u64 *ctx) { return function(ctx[0]) + variable; }";
        let object = Object::parse(&compile(source), &Globals::new()).unwrap();
        let linkages = |btf: Vec<u8>| {
            let raw = Raw::parse(btf).unwrap();
            let linkage = |name: &[u8]| {
                let t = raw.types().find(|t| raw.is_named(t.name_off(), name));
                t.map(|t| match t.kind {
                    Kind::Func => t.word(1) & 0xffff,
                    _ => t.extra(0),
                })
            };
            [&b"function"[..], b"variable"].map(|name| linkage(name).unwrap())
        };
        assert_eq!(linkages(object.extra.btf.clone()), [EXTERN, EXTERN]);
        let parsed = object.parsed().btf.as_ref().unwrap();
        assert!(!linkages(parsed.to_bytes()).contains(&EXTERN));
    }
}
