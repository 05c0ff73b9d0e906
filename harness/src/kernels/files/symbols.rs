//! Symbols of a kernel for a debugger: a `vmlinux` with debug information if there is one, otherwise an ELF file of what
//! `/proc/kallsyms` lists.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use object::{
    Endianness, Object as _,
    elf::{
        EM_X86_64, ET_EXEC, SHF_ALLOC, SHF_EXECINSTR, SHT_NOBITS, STB_GLOBAL, STB_LOCAL, STT_FUNC,
        STT_OBJECT,
    },
    read::ReadCache,
    write::elf::{FileHeader, SectionHeader, Sym, Writer},
};

use super::super::Kernel;

/// Where the kernel is in memory; addresses below are of per-CPU variables.
const KERNEL: u64 = 0xffff_ffff_8000_0000;

/// Where distributions install a kernel's debug information, and where a build leaves it.
pub(crate) fn debug_files(kernel: &Kernel) -> Vec<PathBuf> {
    let release = &kernel.release;
    let built = kernel.image.ancestors().nth(4).map(Path::to_owned);
    let folders = [kernel.image.parent().map(Path::to_owned), built];
    let beside = folders.into_iter().flatten().map(|dir| dir.join("vmlinux"));
    let installed = [
        format!("/usr/lib/debug/boot/vmlinux-{release}"),
        format!("/usr/lib/debug/lib/modules/{release}/vmlinux"),
    ];
    std::iter::once(kernel.image.clone())
        .chain(beside)
        .chain(installed.map(PathBuf::from))
        .collect()
}

/// The first of these files with a symbol table and the build ID of `vmlinux`, the kernel itself.
pub(crate) fn with_symbols(files: Vec<PathBuf>, vmlinux: &[u8]) -> Option<PathBuf> {
    let id = object::File::parse(vmlinux)
        .ok()?
        .build_id()
        .ok()??
        .to_owned();
    let fits = |path: &PathBuf| {
        let cache = ReadCache::new(File::open(path).ok()?);
        let file = object::File::parse(&cache).ok()?;
        let same = file.build_id().ok()?? == id;
        Some(same && file.symbol_table().is_some())
    };
    files.into_iter().find(|path| fits(path) == Some(true))
}

/// An ELF file with the symbols of the kernel in the text of `/proc/kallsyms`, without those of modules.
pub(crate) fn elf(kallsyms: &str) -> Result<Vec<u8>> {
    let mut symbols: Vec<_> = kallsyms.lines().filter_map(Symbol::read).collect();
    ensure!(
        !symbols.is_empty(),
        "the kernel shows no addresses in /proc/kallsyms"
    );
    // As ELF requires.
    symbols.sort_by_key(|symbol| (symbol.is_global, symbol.address));
    let locals = symbols.partition_point(|symbol| !symbol.is_global);
    let addresses = symbols.iter().map(|symbol| symbol.address);
    let first = addresses.clone().min().unwrap_or_default();
    let last = addresses.max().unwrap_or_default();

    let mut elf = Vec::new();
    let mut writer = Writer::new(Endianness::Little, true, &mut elf);
    writer.reserve_file_header();
    writer.reserve_null_section_index();
    let section_name = writer.add_section_name(b"kernel");
    let section = writer.reserve_section_index();
    writer.reserve_symtab_section_index();
    writer.reserve_strtab_section_index();
    writer.reserve_shstrtab_section_index();
    writer.reserve_null_symbol_index();
    let mut names = Vec::with_capacity(symbols.len());
    for symbol in &symbols {
        names.push(writer.add_string(symbol.name.as_bytes()));
        writer.reserve_symbol_index(Some(section));
    }
    writer.reserve_symtab();
    writer.reserve_strtab();
    writer.reserve_shstrtab();
    writer.reserve_section_headers();

    let header = FileHeader {
        os_abi: 0,
        abi_version: 0,
        e_type: ET_EXEC,
        e_machine: EM_X86_64,
        e_entry: first,
        e_flags: 0,
    };
    writer
        .write_file_header(&header)
        .context("cannot write the symbols")?;
    writer.write_null_symbol();
    for (symbol, name) in symbols.iter().zip(names) {
        writer.write_symbol(&Sym {
            name: Some(name),
            section: Some(section),
            st_info: symbol.info(),
            st_other: 0,
            st_shndx: 0,
            st_value: symbol.address,
            st_size: 0,
        });
    }
    writer.write_strtab();
    writer.write_shstrtab();
    writer.write_null_section_header();
    writer.write_section_header(&SectionHeader {
        name: Some(section_name),
        sh_type: SHT_NOBITS,
        sh_flags: u64::from(SHF_ALLOC | SHF_EXECINSTR),
        sh_addr: first,
        sh_offset: 0,
        sh_size: last - first + 1,
        sh_link: 0,
        sh_info: 0,
        sh_addralign: 1,
        sh_entsize: 0,
    });
    writer.write_symtab_section_header(u32::try_from(locals + 1)?);
    writer.write_strtab_section_header();
    writer.write_shstrtab_section_header();
    Ok(elf)
}

/// A line of `/proc/kallsyms`.
struct Symbol<'a> {
    address: u64,
    is_global: bool,
    is_function: bool,
    name: &'a str,
}

impl<'a> Symbol<'a> {
    /// `None` for a symbol of a module, and for one that is not at an address of the kernel.
    fn read(line: &'a str) -> Option<Self> {
        let words: Vec<_> = line.split_whitespace().collect();
        let [address, kind, name] = words.as_slice() else {
            return None;
        };
        let address = u64::from_str_radix(address, 16).ok()?;
        (address >= KERNEL).then_some(Self {
            address,
            is_global: kind.starts_with(char::is_uppercase),
            is_function: matches!(*kind, "t" | "T" | "w" | "W"),
            name,
        })
    }

    fn info(&self) -> u8 {
        let binding = if self.is_global {
            STB_GLOBAL
        } else {
            STB_LOCAL
        };
        let kind = if self.is_function {
            STT_FUNC
        } else {
            STT_OBJECT
        };
        (binding << 4) | kind
    }
}

#[cfg(test)]
mod tests {
    use object::{ObjectSymbol as _, SymbolKind};

    use super::*;

    const KALLSYMS: &str = "\
0000000000001000 A cpu_debug_store
ffffffff81000000 T _text
ffffffff812c79d0 T vfs_read
ffffffff812c0000 t local
ffffffff82607980 D jiffies
ffffffffc0200000 t of_a_module\t[nf_tables]
";

    #[test]
    fn symbols_of_the_kernel_are_in_the_elf_file() {
        let elf = elf(KALLSYMS).unwrap();
        let file = object::File::parse(&*elf).unwrap();
        let symbols: Vec<_> = file
            .symbols()
            .map(|symbol| {
                let is_function = symbol.kind() == SymbolKind::Text;
                let name = symbol.name().unwrap().to_owned();
                (name, symbol.address(), symbol.is_global(), is_function)
            })
            .collect();
        let expected = [
            ("local", 0xffff_ffff_812c_0000, false, true),
            ("_text", 0xffff_ffff_8100_0000, true, true),
            ("vfs_read", 0xffff_ffff_812c_79d0, true, true),
            ("jiffies", 0xffff_ffff_8260_7980, true, false),
        ];
        let expected = expected.map(|(name, at, global, text)| (name.to_owned(), at, global, text));
        assert_eq!(symbols, expected);
    }

    #[test]
    fn hidden_addresses_are_an_error() {
        let error = elf("0000000000000000 T _text\n").unwrap_err().to_string();
        assert!(error.contains("/proc/kallsyms"), "{error}");
    }

    #[test]
    fn only_a_file_of_the_same_build_with_symbols_counts() {
        let dir = tempfile::tempdir().unwrap();
        let run = |program: &str, arguments: &[&str]| {
            let mut command = std::process::Command::new(program);
            command.current_dir(dir.path()).args(arguments);
            assert!(command.status().unwrap().success(), "{program}");
            dir.path().join(arguments[arguments.len() - 1])
        };
        std::fs::write(dir.path().join("a.c"), "int main(void) { return 0; }").unwrap();
        let id = |id: &str| format!("-Wl,--build-id=0x{id}");
        let program = run("cc", &["a.c", &id("0123"), "-o", "program"]);
        let other = run("cc", &["a.c", &id("4567"), "-o", "other"]);
        let stripped = run("strip", &["program", "-o", "stripped"]);
        let content = std::fs::read(&stripped).unwrap();
        let found =
            |files: &[&PathBuf]| with_symbols(files.iter().copied().cloned().collect(), &content);
        assert_eq!(found(&[&other, &stripped, &"/nowhere".into()]), None);
        assert_eq!(found(&[&other, &stripped, &program]), Some(program));
    }
}
