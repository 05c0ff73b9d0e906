//! What `aya-obj` does not tell of an object file, and what it takes for granted.
//!
//! It parses every code section as a program and fails on kinds that it does not know, it does not keep what stands
//! behind the slash of a section's name, knows nothing outside the object, and indexes by offsets from the file without
//! asking whether they fit. So the file is read here first: offsets are checked, and [`disguise`] makes a copy of it
//! that holds nothing the parser trips over.

mod disguise;
pub(crate) mod externs;
mod rename;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;

use aya_obj::ProgramSection;
use object::Endianness;
use object::elf::{
    EM_BPF, FileHeader64, SHF_EXECINSTR, SHT_PROGBITS, SHT_STRTAB, SHT_SYMTAB, STT_FUNC, STT_OBJECT,
};
use object::read::elf::{FileHeader, SectionHeader, SectionTable, Sym};

use crate::btf::core::{self, CoreRelocation};
use crate::error::EbpfError;
use externs::{Extern, ExternKind};

/// Nobody needs more static data than this; the kernel's limit for one map is near it.
const MAX_DATA: u64 = 256 << 20;

/// A global variable and where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Global {
    /// The data section, which is also the map's name.
    pub(crate) section: String,
    pub(crate) offset: usize,
    pub(crate) size: usize,
}

/// What the file says beside what `aya-obj` reads from it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extra {
    /// The section of each program, by the program's name.
    pub(crate) sections: BTreeMap<String, String>,
    /// The programs of kinds that nothing here can load, with their sections.
    pub(crate) foreign: BTreeMap<String, String>,
    /// The programs whose section begins with `?`: the object does without them. Their sections stand without it.
    pub(crate) optional: BTreeSet<String>,
    /// What the `license` section says; empty if there is none.
    pub(crate) license: CString,
    pub(crate) globals: BTreeMap<String, Global>,
    /// What code refers to outside of the object; an instruction holds the place here of what it refers to.
    pub(crate) externs: Vec<Extern>,
    /// The object's own BTF.
    pub(crate) btf: Vec<u8>,
    pub(crate) core: Vec<CoreRelocation>,
    /// The `.BTF.ext` section that the parser is given.
    pub(crate) btf_ext: Vec<u8>,
    /// Index of each section, by name.
    pub(crate) section_index: BTreeMap<String, usize>,
}

impl Extra {
    /// The kernel functions that the object declares.
    pub(crate) fn functions(&self) -> impl Iterator<Item = &str> {
        let functions = self.externs.iter();
        let functions = functions.filter(|e| matches!(e.kind, ExternKind::Function(_)));
        functions.map(|function| function.name.as_str())
    }
}

/// What a section is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Programs of a kind that the parser knows.
    Program,
    /// Programs of a kind that it does not know, and that can go by another name.
    Renamed,
    /// Programs of any other kind.
    Foreign,
    /// Subprograms.
    Text,
    /// Global variables.
    Data,
    Other,
}

impl Role {
    fn is_code(self) -> bool {
        !matches!(self, Self::Data | Self::Other)
    }
}

/// A section, and where it lies in the file.
#[derive(Debug)]
struct Section {
    name: String,
    role: Role,
    size: u64,
    file: std::ops::Range<usize>,
}

fn malformed(what: impl Into<String>) -> EbpfError {
    EbpfError::Malformed { what: what.into() }
}

fn elf_error(error: object::read::Error) -> EbpfError {
    malformed(format!(
        "it is not a 64-bit ELF file that can be read: {error}"
    ))
}

type Header = FileHeader64<Endianness>;

/// Reads the file, and returns a copy of it that the parser understands.
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
            "it is of the other byte order; build it with `-target bpf`, the host's own",
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
                    .ok_or_else(|| malformed("its .BTF.ext section is cut off"))?;
            }
            _ => {}
        }
        extra.section_index.insert(section.name.clone(), index);
    }
    symbols(&table, endian, data, &sections, &mut extra)?;
    let mut copy = data.to_vec();
    disguise::references(&mut copy, &table, endian, data, &sections, &mut extra)?;
    disguise::externs(&mut copy, &sections, &extra);
    disguise::kinds(&mut copy, header, endian, &sections, &mut extra);
    rename::sections(&mut copy, header, endian, &sections);
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
        // The parser wants a text of at least one letter that ends where the section does.
        let mut text = vec![b'-'; file.len().max(2)];
        text.last_mut().into_iter().for_each(|last| *last = 0);
        rename::replace(&mut copy, header, endian, *index, &text);
    }
    Ok((copy, extra))
}

/// The text up to the first NUL.
fn license(section: &[u8]) -> CString {
    let text = section.split(|&byte| byte == 0).next().unwrap_or_default();
    CString::new(text).unwrap_or_default()
}

fn sections(
    table: &SectionTable<'_, Header>,
    endian: Endianness,
    data: &[u8],
) -> Result<Vec<Section>, EbpfError> {
    let mut sections = Vec::new();
    let mut data_size = 0u64;
    for section in table.iter() {
        let name = table.section_name(endian, section).map_err(elf_error)?;
        let name = String::from_utf8_lossy(name).into_owned();
        let bytes = section.data(endian, data).map_err(elf_error)?;
        let start = section.sh_offset(endian) as usize;
        let code = section.sh_flags(endian) & u64::from(SHF_EXECINSTR) != 0 && !bytes.is_empty();
        if code && !bytes.len().is_multiple_of(8) {
            return Err(malformed(format!(
                "code section `{name}` does not hold whole instructions"
            )));
        }
        let role = role(&name, code);
        if role == Role::Data {
            data_size = data_size.saturating_add(section.sh_size(endian));
        }
        let file = start..start.saturating_add(bytes.len());
        sections.push(Section {
            name,
            role,
            size: section.sh_size(endian),
            file,
        });
    }
    if data_size > MAX_DATA {
        return Err(malformed(format!(
            "its data sections claim {data_size} bytes"
        )));
    }
    Ok(sections)
}

fn role(name: &str, code: bool) -> Role {
    if [".data", ".bss", ".rodata"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
    {
        return Role::Data;
    }
    if name.starts_with(".text") {
        return Role::Text;
    }
    if !code {
        return Role::Other;
    }
    let essential = without_mark(name);
    let kind = essential.split('/').next().unwrap_or_default();
    match kind.strip_suffix(".s").unwrap_or(kind) {
        "fsession" | "fexit.multi" | "fsession.multi" => Role::Renamed,
        _ if essential.parse::<ProgramSection>().is_err() => Role::Foreign,
        _ if essential == name => Role::Program,
        _ => Role::Renamed,
    }
}

/// The section's name without the `?` of optional programs.
fn without_mark(section: &str) -> &str {
    section.strip_prefix('?').unwrap_or(section)
}

/// Notes programs and variables, and checks that each symbol lies in its section.
fn symbols(
    table: &SectionTable<'_, Header>,
    endian: Endianness,
    data: &[u8],
    sections: &[Section],
    extra: &mut Extra,
) -> Result<(), EbpfError> {
    let symbols = table.symbols(endian, data, SHT_SYMTAB).map_err(elf_error)?;
    for symbol in symbols.iter() {
        let Some(section) = sections.get(usize::from(symbol.st_shndx(endian))) else {
            continue;
        };
        let name = symbol.name(endian, symbols.strings()).unwrap_or_default();
        let name = String::from_utf8_lossy(name).into_owned();
        let (start, size) = (symbol.st_value(endian), symbol.st_size(endian));
        if start.checked_add(size).is_none_or(|end| end > section.size) {
            return Err(malformed(format!(
                "symbol `{name}` reaches out of `{}`",
                section.name
            )));
        }
        let essential = without_mark(&section.name);
        if symbol.st_type() == STT_FUNC && essential != section.name {
            extra.optional.insert(name.clone());
        }
        match (section.role, symbol.st_type()) {
            (Role::Program | Role::Renamed, STT_FUNC) => {
                extra.sections.insert(name, essential.to_owned());
            }
            (Role::Foreign, STT_FUNC) => {
                extra.foreign.insert(name, essential.to_owned());
            }
            (Role::Data, STT_OBJECT) => {
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

/// Offset of a field in the header of section `index`, in the file.
fn header_field(header: &Header, endian: Endianness, index: usize, field: usize) -> usize {
    let size = usize::from(header.e_shentsize.get(endian));
    (header.e_shoff.get(endian) as usize).saturating_add(index * size + field)
}

/// Writes over part of the file, if it is there.
fn patch(copy: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(slot) = at
        .checked_add(bytes.len())
        .and_then(|end| copy.get_mut(at..end))
    {
        slot.copy_from_slice(bytes);
    }
}

/// A file for the parser that holds just these sections.
pub(crate) fn file(sections: &[(&str, &[u8])]) -> Vec<u8> {
    const HEADER: usize = 64;
    const SECTION: usize = 64;
    let mut names = vec![0];
    let mut contents = Vec::new();
    let mut headers = vec![0; SECTION]; // the first is none
    let count = sections.len() + 2;
    let start = HEADER + count * SECTION;
    let mut add = |name: &str, section_type: u32, content: &dyn Fn(&[u8]) -> Vec<u8>| {
        let name_at = names.len() as u32;
        names.extend(name.bytes().chain([0]));
        let content = content(&names);
        let mut header = vec![0; SECTION];
        patch(&mut header, 0, &name_at.to_ne_bytes());
        patch(&mut header, 4, &section_type.to_ne_bytes());
        let offset = (start + contents.len()) as u64;
        patch(&mut header, 24, &offset.to_ne_bytes());
        patch(&mut header, 32, &(content.len() as u64).to_ne_bytes());
        patch(&mut header, 48, &1u64.to_ne_bytes()); // alignment
        headers.extend(header);
        contents.extend(content);
    };
    for (name, content) in sections {
        add(name, SHT_PROGBITS, &|_| content.to_vec());
    }
    add(".strtab", SHT_STRTAB, &|names| names.to_vec());
    let mut file = vec![0; HEADER];
    let order = if cfg!(target_endian = "little") { 1 } else { 2 };
    patch(&mut file, 0, &[0x7f, b'E', b'L', b'F', 2, order, 1]);
    patch(&mut file, 16, &1u16.to_ne_bytes()); // relocatable
    patch(&mut file, 18, &EM_BPF.to_ne_bytes());
    patch(&mut file, 20, &1u32.to_ne_bytes());
    patch(&mut file, 40, &(HEADER as u64).to_ne_bytes());
    for (at, value) in [(52, HEADER), (58, SECTION), (60, count), (62, count - 1)] {
        patch(&mut file, at, &(value as u16).to_ne_bytes());
    }
    [file, headers, contents].concat()
}
