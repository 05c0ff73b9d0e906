//! The symbols of the file, and the relocations of its sections.

use object::Endianness;
use object::elf::{
    Rel64, SHN_UNDEF, SHT_REL, SHT_SYMTAB, STB_LOCAL, STB_WEAK, STT_OBJECT, STV_DEFAULT,
    STV_PROTECTED, Sym64,
};
use object::read::elf::{SectionHeader, SectionTable, Sym};

use super::sections::{Header, Section, elf_error};
use super::write::patch;
use crate::error::EbpfError;

/// A symbol of the file.
#[derive(Clone, Debug)]
pub(super) struct Symbol {
    pub(super) name: String,
    /// `STT_FUNC`, `STT_OBJECT`, ...
    pub(super) kind: u8,
    /// The index of its section.
    pub(super) section: usize,
    /// Its place there.
    pub(super) start: u64,
    pub(super) size: u64,
    pub(super) is_weak: bool,
    /// Whether it is global, and not hidden.
    pub(super) is_exported: bool,
}

impl Symbol {
    /// Whether it is outside of the object.
    pub(super) fn is_undefined(&self) -> bool {
        self.section == usize::from(SHN_UNDEF)
    }
}

/// What is at `offset` of `section` refers to `symbol`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relocation<'a> {
    /// The index of the section.
    pub(super) section: usize,
    pub(super) offset: u64,
    pub(super) symbol: &'a Symbol,
}

/// The symbols and relocations of a file.
pub(super) struct Relocations<'a> {
    table: &'a SectionTable<'a, Header>,
    endian: Endianness,
    data: &'a [u8],
    sections: &'a [Section],
    symbols: Vec<Symbol>,
    /// Where the symbols are in the file.
    start: usize,
}

impl<'a> Relocations<'a> {
    pub(super) fn new(
        table: &'a SectionTable<'a, Header>,
        endian: Endianness,
        data: &'a [u8],
        sections: &'a [Section],
    ) -> Result<Self, EbpfError> {
        let symbols = table.symbols(endian, data, SHT_SYMTAB).map_err(elf_error)?;
        let symbol = |symbol: &Sym64<Endianness>| {
            let name = symbol.name(endian, symbols.strings()).unwrap_or_default();
            Symbol {
                name: String::from_utf8_lossy(name).into_owned(),
                kind: symbol.st_type(),
                section: symbol.st_shndx(endian).into(),
                start: symbol.st_value(endian),
                size: symbol.st_size(endian),
                is_weak: symbol.st_bind() == STB_WEAK,
                is_exported: symbol.st_bind() != STB_LOCAL
                    && [STV_DEFAULT, STV_PROTECTED].contains(&symbol.st_visibility()),
            }
        };
        let own = sections.get(symbols.section().0);
        Ok(Self {
            table,
            endian,
            data,
            sections,
            symbols: symbols.iter().map(symbol).collect(),
            start: own.map_or(0, |own| own.file.start),
        })
    }

    /// All symbols.
    pub(super) fn symbols(&self) -> &[Symbol] {
        &self.symbols
    }

    /// The relocations of the sections that `is_it` holds for.
    pub(super) fn of(
        &self,
        is_it: impl Fn(&Section) -> bool,
    ) -> Result<Vec<Relocation<'_>>, EbpfError> {
        let mut found = Vec::new();
        let all = self.table.iter();
        for raw in all.filter(|section| section.sh_type(self.endian) == SHT_REL) {
            let section = raw.info_link(self.endian).0;
            if !self.sections.get(section).is_some_and(&is_it) {
                continue;
            }
            let relocations: &[Rel64<Endianness>] = raw
                .data_as_array(self.endian, self.data)
                .map_err(elf_error)?;
            found.extend(relocations.iter().filter_map(|relocation| {
                Some(Relocation {
                    section,
                    offset: relocation.r_offset.get(self.endian),
                    symbol: self.symbols.get(relocation.r_sym(self.endian) as usize)?,
                })
            }));
        }
        Ok(found)
    }

    /// The variable at this place.
    pub(super) fn variable_at(&self, section: usize, offset: u64) -> Option<&Symbol> {
        self.symbols.iter().find(|symbol| {
            let end = symbol.start.saturating_add(symbol.size);
            symbol.kind == STT_OBJECT
                && symbol.section == section
                && (symbol.start..end).contains(&offset)
        })
    }

    /// Takes the section from its symbols, in a copy of the file.
    pub(super) fn undefine(&self, copy: &mut [u8], section: usize) {
        /// Where `st_shndx` is in a symbol.
        const SECTION_AT: usize = 6;
        for (number, symbol) in self.symbols.iter().enumerate() {
            if symbol.section == section {
                let at = self.start + number * size_of::<Sym64<Endianness>>() + SECTION_AT;
                patch(copy, at, &SHN_UNDEF.to_ne_bytes());
            }
        }
    }
}
