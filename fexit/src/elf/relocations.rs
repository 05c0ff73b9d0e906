//! The relocations of sections with data: which symbol the address at a place in the section is of.

use object::Endianness;
use object::elf::{
    FileHeader64, Rel64, SHN_UNDEF, SHT_REL, SHT_SYMTAB, STB_LOCAL, STT_OBJECT, STV_DEFAULT,
    STV_PROTECTED, Sym64,
};
use object::read::elf::{SectionHeader, SectionTable, Sym, SymbolTable};

use super::sections::{Section, elf_error};
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
    /// Whether it is global, and not hidden.
    pub(super) is_exported: bool,
}

/// The address at `offset` of `section` is that of `symbol`.
#[derive(Clone, Debug)]
pub(super) struct DataRelocation {
    /// The index of the section.
    pub(super) section: usize,
    pub(super) offset: u64,
    pub(super) symbol: Symbol,
}

/// The symbols and relocations of a file.
pub(super) struct Relocations<'a> {
    table: &'a SectionTable<'a, FileHeader64<Endianness>>,
    endian: Endianness,
    data: &'a [u8],
    sections: &'a [Section],
    symbols: SymbolTable<'a, FileHeader64<Endianness>>,
}

impl<'a> Relocations<'a> {
    pub(super) fn new(
        table: &'a SectionTable<'a, FileHeader64<Endianness>>,
        endian: Endianness,
        data: &'a [u8],
        sections: &'a [Section],
    ) -> Result<Self, EbpfError> {
        let symbols = table.symbols(endian, data, SHT_SYMTAB).map_err(elf_error)?;
        Ok(Self {
            table,
            endian,
            data,
            sections,
            symbols,
        })
    }

    /// The relocations of the sections that `is_it` holds for.
    pub(super) fn of_data(
        &self,
        is_it: impl Fn(&Section) -> bool,
    ) -> Result<Vec<DataRelocation>, EbpfError> {
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
                let index = object::SymbolIndex(relocation.r_sym(self.endian) as usize);
                Some(DataRelocation {
                    section,
                    offset: relocation.r_offset.get(self.endian),
                    symbol: self.symbol(self.symbols.symbol(index).ok()?),
                })
            }));
        }
        Ok(found)
    }

    /// All symbols.
    pub(super) fn symbols(&self) -> impl Iterator<Item = Symbol> {
        self.symbols.iter().map(|symbol| self.symbol(symbol))
    }

    /// The variable at this place.
    pub(super) fn variable_at(&self, section: usize, offset: u64) -> Option<Symbol> {
        self.symbols().find(|symbol| {
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
        let index = self.symbols.section();
        let start = self
            .sections
            .get(index.0)
            .map_or(0, |table| table.file.start);
        for (number, symbol) in self.symbols.iter().enumerate() {
            if usize::from(symbol.st_shndx(self.endian)) == section {
                let at = start + number * size_of::<Sym64<Endianness>>() + SECTION_AT;
                patch(copy, at, &SHN_UNDEF.to_ne_bytes());
            }
        }
    }

    fn symbol(&self, symbol: &Sym64<Endianness>) -> Symbol {
        let name = symbol.name(self.endian, self.symbols.strings());
        Symbol {
            name: String::from_utf8_lossy(name.unwrap_or_default()).into_owned(),
            kind: symbol.st_type(),
            section: symbol.st_shndx(self.endian).into(),
            start: symbol.st_value(self.endian),
            size: symbol.st_size(self.endian),
            is_exported: symbol.st_bind() != STB_LOCAL
                && [STV_DEFAULT, STV_PROTECTED].contains(&symbol.st_visibility()),
        }
    }
}
