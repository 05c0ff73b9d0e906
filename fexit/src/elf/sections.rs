//! The sections of an object file: what each contains, and where it is in the file.

use aya_obj::ProgramSection;
use object::Endianness;
use object::elf::{FileHeader64, SHF_EXECINSTR};
use object::read::elf::{SectionHeader, SectionTable};

use crate::compat::program_type;
use crate::error::EbpfError;

/// The limit for static data, near the kernel's limit for one map.
const MAX_DATA: u64 = 256 << 20;

/// The section of global variables in an arena.
pub(crate) const ARENA_SECTION: &str = ".addr_space.1";

/// What a section contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Programs of a type that the parser knows.
    Program,
    /// Programs of a type that the parser does not know: [`super::preprocess`] gives the section an alias.
    Aliased,
    /// Programs that cannot be loaded.
    OtherProgram,
    /// Subprograms.
    Text,
    /// Global variables.
    Data,
    /// Global variables in an arena.
    Arena,
    /// Anything else.
    Other,
}

impl Role {
    pub(super) fn is_code(self) -> bool {
        !matches!(self, Self::Data | Self::Arena | Self::Other)
    }
}

/// A section, and its position in the file.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) size: u64,
    pub(super) file: std::ops::Range<usize>,
}

pub(super) fn malformed(what: impl Into<String>) -> EbpfError {
    EbpfError::Malformed { what: what.into() }
}

pub(super) fn elf_error(error: object::read::Error) -> EbpfError {
    malformed(format!(
        "it is not a 64-bit ELF file that can be read: {error}"
    ))
}

pub(super) type Header = FileHeader64<Endianness>;

pub(super) fn sections(
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
                "the size of code section `{name}` is not a multiple of an instruction's"
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
    if name == ARENA_SECTION {
        return Role::Arena;
    }
    if name.starts_with(".text") {
        return Role::Text;
    }
    if !code {
        return Role::Other;
    }
    let unmarked = without_mark(name);
    let kind = unmarked.split('/').next().unwrap_or_default();
    match kind.strip_suffix(".s").unwrap_or(kind) {
        "fsession" | "fmod_ret" | "fentry.multi" | "fexit.multi" | "fsession.multi" => {
            Role::Aliased
        }
        _ if unmarked.parse::<ProgramSection>().is_ok() => match unmarked == name {
            true => Role::Program,
            false => Role::Aliased,
        },
        _ if program_type(unmarked).is_some() => Role::Aliased,
        _ => Role::OtherProgram,
    }
}

/// The section's name without the `?` of optional programs.
pub(super) fn without_mark(section: &str) -> &str {
    section.strip_prefix('?').unwrap_or(section)
}
