//! What `aya-obj` does not tell of an object file, and what it takes for granted.
//!
//! It parses every code section as a program and fails on kinds that it does not know, it does not keep what stands
//! behind the slash of a section's name, and it indexes by offsets from the file without asking whether they fit. So the
//! file is read here first: unknown kinds are noted and hidden, and offsets are checked.

use std::collections::BTreeMap;

use aya_obj::ProgramSection;
use object::Endianness;
use object::elf::{FileHeader64, SHF_EXECINSTR, STT_FUNC, STT_OBJECT, SectionHeader64};
use object::read::elf::{FileHeader, SectionHeader, Sym};

use crate::btf::core::{self, CoreRelocation};
use crate::error::EbpfError;

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
    pub(crate) globals: BTreeMap<String, Global>,
    /// The object's own BTF.
    pub(crate) btf: Vec<u8>,
    pub(crate) core: Vec<CoreRelocation>,
    /// Index of each section, by name.
    pub(crate) section_index: BTreeMap<String, usize>,
}

fn malformed(what: impl Into<String>) -> EbpfError {
    EbpfError::Malformed { what: what.into() }
}

/// Reads the file, and returns a copy of it in which programs of unknown kinds are hidden.
pub(crate) fn examine(data: &[u8]) -> Result<(Vec<u8>, Extra), EbpfError> {
    let elf_error =
        |error: object::read::Error| malformed(format!("it is not an ELF file of ours: {error}"));
    // The reader wants alignment, and headers are patched: work on a copy.
    let mut copy = data.to_vec();
    let header = FileHeader64::<Endianness>::parse(data).map_err(elf_error)?;
    let endian = header.endian().map_err(elf_error)?;
    if header.e_machine.get(endian) != object::elf::EM_BPF {
        return Err(malformed(
            "it is compiled for another machine; build it with `clang -target bpf`",
        ));
    }
    if cfg!(target_endian = "little") != (endian == Endianness::Little) {
        return Err(malformed(
            "it is of the other byte order; build it with `-target bpf`, the host's own",
        ));
    }
    let sections = header.sections(endian, data).map_err(elf_error)?;
    let symbols = sections
        .symbols(endian, data, object::elf::SHT_SYMTAB)
        .map_err(elf_error)?;
    let mut extra = Extra::default();
    let mut notes = Vec::new();
    let mut data_size = 0u64;

    for (index, section) in sections.iter().enumerate() {
        let name = sections.section_name(endian, section).map_err(elf_error)?;
        let name = String::from_utf8_lossy(name).into_owned();
        let bytes = section.data(endian, data).map_err(elf_error)?;
        let note = Note::new(
            name.clone(),
            section.sh_size(endian),
            is_code(section, endian, bytes),
        );
        if note.role == Role::Data {
            data_size = data_size.saturating_add(note.size);
        }
        if is_code(section, endian, bytes) && !bytes.len().is_multiple_of(8) {
            return Err(malformed(format!(
                "code section `{name}` does not hold whole instructions"
            )));
        }
        if note.role == Role::Foreign {
            let header_size = usize::from(header.e_shentsize.get(endian));
            let flags = header.e_shoff.get(endian) as usize + index * header_size + FLAGS_AT;
            if let Some(flags) = copy.get_mut(flags..flags + 8) {
                flags.fill(0); // no longer a code section
            }
        }
        match name.as_str() {
            ".BTF" => extra.btf = bytes.to_vec(),
            ".BTF.ext" => {
                extra.core = core::relocations(bytes)
                    .ok_or_else(|| malformed("its .BTF.ext section is cut off"))?;
            }
            _ => {}
        }
        extra.section_index.insert(name, index);
        notes.push(note);
    }
    if data_size > MAX_DATA {
        return Err(malformed(format!(
            "its data sections claim {data_size} bytes"
        )));
    }
    for symbol in symbols.iter() {
        let Some(note) = notes.get(usize::from(symbol.st_shndx(endian))) else {
            continue;
        };
        let name = symbol.name(endian, symbols.strings()).unwrap_or_default();
        let name = String::from_utf8_lossy(name).into_owned();
        let (start, size) = (symbol.st_value(endian), symbol.st_size(endian));
        if start.checked_add(size).is_none_or(|end| end > note.size) {
            return Err(malformed(format!(
                "symbol `{name}` reaches out of `{}`",
                note.name
            )));
        }
        match (note.role, symbol.st_type()) {
            (Role::Program, STT_FUNC) => {
                extra.sections.insert(name, note.name.clone());
            }
            (Role::Foreign, STT_FUNC) => {
                extra.foreign.insert(name, note.name.clone());
            }
            (Role::Data, STT_OBJECT) => {
                let (offset, size) = (start as usize, size as usize);
                extra.globals.insert(
                    name,
                    Global {
                        section: note.name.clone(),
                        offset,
                        size,
                    },
                );
            }
            _ => {}
        }
    }
    Ok((copy, extra))
}

/// Where `sh_flags` stands in a section header.
const FLAGS_AT: usize = 8;

/// What a section is to us.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Programs of a kind that the parser knows.
    Program,
    /// Programs of any other kind.
    Foreign,
    /// Global variables.
    Data,
    Other,
}

struct Note {
    name: String,
    size: u64,
    role: Role,
}

impl Note {
    fn new(name: String, size: u64, code: bool) -> Self {
        let role = if is_data(&name) {
            Role::Data
        } else if !code || name.starts_with(".text") {
            Role::Other
        } else if name.parse::<ProgramSection>().is_ok() {
            Role::Program
        } else {
            Role::Foreign
        };
        Self { name, size, role }
    }
}

fn is_code(section: &SectionHeader64<Endianness>, endian: Endianness, bytes: &[u8]) -> bool {
    section.sh_flags(endian) & u64::from(SHF_EXECINSTR) != 0 && !bytes.is_empty()
}

fn is_data(section: &str) -> bool {
    [".data", ".bss", ".rodata"]
        .iter()
        .any(|prefix| section.starts_with(prefix))
}
