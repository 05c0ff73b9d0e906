//! Other names for sections, in string tables of their own behind the end of the file.
//!
//! clang keeps the names of sections and symbols in one table, where one may be the tail of another (`session` of
//! `fsession`), and in the BTF a section and a function of one name share a string. So no name is ever written over.

use object::Endianness;
use object::read::elf::FileHeader;

use super::{Header, Role, Section, header_field, patch};

/// Where `sh_name`, `sh_offset` and `sh_size` stand in a section's header.
const NAME_AT: usize = 0;
const OFFSET_AT: usize = 24;
const SIZE_AT: usize = 32;

/// The name that stands for a section of a kind that the parser does not know: that of an fexit program.
fn alias(section: &Section) -> String {
    format!("fexit/{}", section.name)
}

/// Gives the sections of programs that the parser does not know a name that it does, in the file and in its BTF.
pub(super) fn sections(
    copy: &mut Vec<u8>,
    header: &Header,
    endian: Endianness,
    sections: &[Section],
) {
    let renamed = || {
        let all = sections.iter().enumerate();
        all.filter(|(_, section)| section.role == Role::Renamed)
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
            rename_in_btf(&mut types, ext, section);
        }
        replace(copy, header, endian, btf, &types);
    }
}

/// Adds a string to a table of strings; returns where it stands there.
fn append(strings: &mut Vec<u8>, name: &str) -> u32 {
    let at = u32::try_from(strings.len()).unwrap_or(0);
    strings.extend(name.as_bytes());
    strings.push(0);
    at
}

/// Puts the new contents of section `index` behind the end of the file, where nothing else moves.
pub(super) fn replace(
    copy: &mut Vec<u8>,
    header: &Header,
    endian: Endianness,
    index: usize,
    contents: &[u8],
) {
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

/// Adds the section's new name to the BTF, and makes what `.BTF.ext` says of the section refer to it.
fn rename_in_btf(btf: &mut Vec<u8>, ext: &mut [u8], section: &Section) -> Option<()> {
    let strings = word(btf, 4)?.checked_add(word(btf, 16)?)?;
    // The kernel, too, wants the strings to come last.
    let length = btf.len().checked_sub(strings)?;
    if word(btf, 20)? != length {
        return None;
    }
    let wanted = [section.name.as_bytes(), b"\0"].concat();
    let mut at = None;
    for place in section_names(ext) {
        let old = strings.checked_add(word(ext, place)?)?;
        if !btf.get(old..)?.starts_with(&wanted) {
            continue;
        }
        let new = *at.get_or_insert_with(|| append(btf, &alias(section)) - strings as u32);
        patch(ext, place, &new.to_ne_bytes());
    }
    let length = u32::try_from(btf.len() - strings).ok()?;
    patch(btf, 20, &length.to_ne_bytes());
    Some(())
}

/// Where `.BTF.ext` names sections: in its information on functions and on lines, and in its CO-RE relocations.
fn section_names(ext: &[u8]) -> Vec<usize> {
    let mut places = Vec::new();
    let header = word(ext, 4).unwrap_or(0);
    for field in [8, 16, 24].into_iter().filter(|field| field + 8 <= header) {
        let mut part = || {
            let start = header.checked_add(word(ext, field)?)?;
            let end = start.checked_add(word(ext, field + 4)?)?;
            let size = word(ext, start)?;
            let mut at = start + 4;
            while at < end {
                let records = word(ext, at + 4)?.checked_mul(size)?;
                places.push(at);
                at = at.checked_add(8)?.checked_add(records)?;
            }
            Some(())
        };
        part();
    }
    places
}
