//! The kernel's symbol table, `/proc/kallsyms`.
//!
//! The kernel formats the table line by line for each reader, which takes longer than the rest of a load. So it is read
//! only if nothing else has the answer, and only once; the functions in it are kept.

use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::sync::OnceLock;

use memchr::memmem;

use super::chunked::read_chunked;
use crate::sys;

const TABLE: &str = "/proc/kallsyms";

/// An address in the table: 16 digits on a 64-bit machine.
const ADDRESS_LEN: usize = 16;
/// The positions of a symbol's type and of its name in a line.
const KIND_AT: usize = ADDRESS_LEN + 1;
const NAME_AT: usize = ADDRESS_LEN + 3;

/// The functions in the symbol table; empty if the process may not read it.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    /// Their lines without the symbol types: address, name, newline.
    lines: Vec<u8>,
    /// The same for functions that run only at boot (`__init`).
    at_boot: Vec<u8>,
    /// The same for functions of modules; the module follows the name.
    of_modules: Vec<u8>,
}

impl Symbols {
    pub(super) fn read() -> Self {
        File::open(sys::kernel_file(TABLE)).map_or_else(|_| Self::default(), Self::of)
    }

    fn of(table: impl Read) -> Self {
        let mut symbols = Self::default();
        let mut is_code = true;
        let _: Option<()> = each_function(table, |address, name| {
            is_code &= name != END_OF_CODE;
            let lines = if name.ends_with(b"]") {
                &mut symbols.of_modules
            } else if is_code {
                &mut symbols.lines
            } else {
                &mut symbols.at_boot
            };
            lines.extend_from_slice(address);
            lines.extend_from_slice(name);
            lines.push(b'\n');
            ControlFlow::Continue(())
        });
        symbols
    }

    /// The functions of the kernel itself.
    fn functions(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        split(&self.lines)
    }

    /// The functions of modules with this name: module and address.
    fn in_modules(&self, name: &str) -> Vec<(String, String)> {
        let functions = split(&self.of_modules).filter_map(|(address, symbol)| {
            let (symbol, module) = split_module(symbol)?;
            (symbol == name.as_bytes()).then(|| (text(module), text(address)))
        });
        let mut all: Vec<_> = functions.collect();
        all.sort();
        all
    }

    /// The modules that have a function with this name.
    pub(super) fn modules_with(&self, name: &str) -> Vec<String> {
        let all = self.in_modules(name).into_iter();
        let mut modules: Vec<String> = all.map(|(module, _)| module).collect();
        modules.dedup();
        modules
    }

    /// The candidates if the name is ambiguous in this module: `module:name at ADDRESS`.
    pub(super) fn duplicates_in_module(&self, module: &str, name: &str) -> Vec<String> {
        let functions = self.in_modules(name).into_iter();
        let functions = functions
            .filter(|(of, _)| of == module)
            .map(|(_, address)| format!("{module}:{name} at 0x{address}"));
        if_several(functions.collect())
    }

    /// The candidates if the name is ambiguous in the kernel: `name at ADDRESS`.
    pub(super) fn duplicates(&self, name: &str) -> Vec<String> {
        let functions = self
            .functions()
            .filter(|(_, found)| *found == name.as_bytes())
            .map(|(address, _)| format!("{name} at 0x{}", text(address)));
        if_several(functions.collect())
    }

    /// The symbols of a function of the kernel, or of this module.
    pub(super) fn trace(&self, name: &str, module: Option<&str>) -> Trace {
        if self.lines.is_empty() {
            return Trace::Unknown;
        }
        let trace = match module {
            None => trace(name, beginning_with(&self.lines, name)),
            Some(module) => {
                let symbols =
                    split(&self.of_modules).filter_map(|(_, symbol)| split_module(symbol));
                let of_module = symbols.filter(|(_, of)| *of == module.as_bytes());
                trace(name, of_module.map(|(symbol, _)| symbol))
            }
        };
        let is_at_boot =
            || beginning_with(&self.at_boot, name).any(|symbol| symbol == name.as_bytes());
        if trace == Trace::None && module.is_none() && is_at_boot() {
            return Trace::AtBoot;
        }
        trace
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn if_several(functions: Vec<String>) -> Vec<String> {
    if functions.len() > 1 {
        functions
    } else {
        Vec::new()
    }
}

/// The name of a module's function, and that of the module: `name<TAB>[module]`.
fn split_module(symbol: &[u8]) -> Option<(&[u8], &[u8])> {
    let tab = symbol.iter().position(|&byte| byte == b'\t')?;
    let module = symbol[tab + 1..].strip_prefix(b"[")?.strip_suffix(b"]")?;
    Some((&symbol[..tab], module))
}

/// The best of a function's symbols.
fn trace<'a>(name: &str, symbols: impl Iterator<Item = &'a [u8]>) -> Trace {
    let mut found = Trace::None;
    for symbol in symbols {
        match symbol.strip_prefix(name.as_bytes()) {
            Some(b"") => return Trace::Function,
            // A changed copy is a better answer than its cold part.
            Some(suffix) if suffix.starts_with(b".") => {
                let is_cold = suffix.ends_with(b".cold");
                if found == Trace::None || !is_cold {
                    found = Trace::Changed(text(symbol));
                }
            }
            _ => {}
        }
    }
    found
}

/// The names among [`Symbols::lines`] that begin with `name`. It does not look at each line.
fn beginning_with<'a>(lines: &'a [u8], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let is_start = |at: &usize| {
        let line = at.checked_sub(ADDRESS_LEN);
        line.is_some_and(|line| line == 0 || lines[line - 1] == b'\n')
    };
    let starts = memmem::find_iter(lines, name.as_bytes()).filter(is_start);
    starts.filter_map(|at| lines[at..].split(|&byte| byte == b'\n').next())
}

/// Address and name of each of [`Symbols::lines`].
fn split(lines: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = lines;
    std::iter::from_fn(move || {
        let (address, after) = rest.split_at_checked(ADDRESS_LEN)?;
        let end = after.iter().position(|&byte| byte == b'\n')?;
        rest = &after[end + 1..];
        Some((address, &after[..end]))
    })
}

/// A function's symbols in the table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Trace {
    /// The function itself.
    Function,
    /// Only a copy that the compiler changed (`name.isra.0`, `.constprop`, `.part`), or a part of it (`name.cold`).
    Changed(String),
    /// A function that runs only at boot.
    AtBoot,
    /// No symbol.
    None,
    /// The table cannot be read.
    Unknown,
}

/// Reads the table, and passes address and name of each function, and of [`END_OF_CODE`], until told to stop. The module follows the name of its
/// function.
fn each_function<T>(
    table: impl Read,
    mut found: impl FnMut(&[u8], &[u8]) -> ControlFlow<T>,
) -> Option<T> {
    read_chunked(table, |chunk| {
        let mut start = 0;
        while let Some(line) = line(&chunk[start..]) {
            start += line.len() + 1;
            if let (Some(address), Some(kind), Some(name)) = (
                line.get(..ADDRESS_LEN),
                line.get(KIND_AT),
                line.get(NAME_AT..),
            ) && (matches!(kind, b't' | b'T' | b'w' | b'W') || is_end_of_code(*kind, name))
                && let ControlFlow::Break(result) = found(address, name)
            {
                return ControlFlow::Break(result);
            }
        }
        ControlFlow::Continue(start)
    })
}

/// The first line without its newline; it is longer than the columns before the name.
fn line(table: &[u8]) -> Option<&[u8]> {
    let end = table
        .get(NAME_AT..)?
        .iter()
        .position(|&byte| byte == b'\n')?;
    table.get(..NAME_AT + end)
}

/// Whether the name is ambiguous in the kernel, by the table, which is read once per process; `None` if it cannot be
/// read.
pub(super) fn is_ambiguous(name: &[u8]) -> Option<bool> {
    let found = sys::once_per_kernel!(OnceLock<Vec<u64>>, OnceLock::new());
    let ambiguous = match found.get() {
        Some(ambiguous) => ambiguous,
        None => {
            let table = File::open(sys::kernel_file(TABLE)).ok()?;
            found.get_or_init(|| ambiguous_names(table))
        }
    };
    Some(ambiguous.binary_search(&hash(name)).is_ok())
}

/// The symbol at the end of the kernel's code. After it come data, which are half of the table, and `__init` functions.
/// These may have the same names, but the kernel attaches to the first function with a name.
const END_OF_CODE: &[u8] = b"_etext";

/// Whether a symbol that is not of a function ends the code. On arm64 it belongs to the data that follow.
fn is_end_of_code(kind: u8, name: &[u8]) -> bool {
    kind == b'D' && name == END_OF_CODE
}

/// The sorted hashes of all ambiguous names of the kernel.
fn ambiguous_names(table: impl Read) -> Vec<u64> {
    let mut all = Vec::new();
    let _: Option<()> = each_function(table, |_, name| {
        if name == END_OF_CODE {
            return ControlFlow::Break(());
        }
        if !name.ends_with(b"]") {
            all.push(hash(name));
        }
        ControlFlow::Continue(())
    });
    all.sort_unstable();
    let repeated = all.windows(2).filter(|w| w[0] == w[1]);
    let mut ambiguous: Vec<u64> = repeated.map(|w| w[0]).collect();
    ambiguous.dedup();
    ambiguous
}

/// FNV-1a: fast for the 200,000 names of the table, which are trusted.
fn hash(name: &[u8]) -> u64 {
    name.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"ffffffff81000000 T startup_64\n\
        ffffffff81000010 t init_once\n\
        ffffffff81000020 t init_once\n\
        ffffffff81000030 d state\n\
        ffffffff81000040 t state\n\
        ffffffff81000050 t do_open.cold\n\
        ffffffff81000060 t do_open.isra.0\n\
        ffffffff81000068 t do_open.isra.0.cold\n\
        ffffffff81000070 t do_seldom.cold\n\
        ffffffff82000000 T _etext\n\
        ffffffff83000000 t state\n\
        ffffffff83000010 t setup\n\
        ffffffff83000020 t setup\n\
        ffffffffc0000000 t startup_64\t[nf_tables]\n\
        ffffffffc0000010 t init\t[tun]\n\
        ffffffffc0000020 d init\t[tun]\n\
        ffffffffc0000030 t init\t[tap]\n\
        ffffffffc0000040 t init\t[tap]\n\
        ffffffffc0000050 t open.constprop.0\t[tap]\n\
        cut";

    /// Gives a few bytes at a time, so that lines are split between reads.
    struct Slowly<'a>(&'a [u8]);

    impl Read for Slowly<'_> {
        fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
            let len = to.len().min(7);
            self.0.read(&mut to[..len])
        }
    }

    fn symbols(table: &[u8]) -> Symbols {
        Symbols::of(Slowly(table))
    }

    #[test]
    fn data_modules_and_what_runs_at_boot_make_no_name_ambiguous() {
        assert_eq!(ambiguous_names(TABLE), [hash(b"init_once")]);
        assert_eq!(ambiguous_names(Slowly(TABLE)), [hash(b"init_once")]);
        let symbols = symbols(TABLE);
        assert_eq!(
            symbols.duplicates("init_once"),
            [
                "init_once at 0xffffffff81000010",
                "init_once at 0xffffffff81000020"
            ]
        );
        for name in ["state", "setup", "startup_64"] {
            assert!(symbols.duplicates(name).is_empty(), "{name}");
        }
    }

    #[test]
    fn functions_of_modules_are_found_with_their_modules() {
        let symbols = symbols(TABLE);
        let found = symbols.in_modules("init");
        let modules: Vec<_> = found.iter().map(|(module, _)| module.as_str()).collect();
        assert_eq!(modules, ["tap", "tap", "tun"]);
        assert_eq!(found[2].1, "ffffffffc0000010");
        assert!(symbols.in_modules("init_once").is_empty());
        assert_eq!(symbols.in_modules("startup_64").len(), 1);
        assert_eq!(symbols.duplicates_in_module("tap", "init").len(), 2);
        assert!(symbols.duplicates_in_module("tun", "init").is_empty());
    }

    #[test]
    fn changed_copies_and_parts_of_a_function_are_found() {
        let symbols = symbols(TABLE);
        let changed = |copy: &str| Trace::Changed(copy.to_owned());
        assert_eq!(symbols.trace("state", None), Trace::Function);
        assert_eq!(symbols.trace("setup", None), Trace::AtBoot);
        assert_eq!(symbols.trace("do_open", None), changed("do_open.isra.0"));
        assert_eq!(symbols.trace("do_seldom", None), changed("do_seldom.cold"));
        assert_eq!(symbols.trace("do_close", None), Trace::None);
        assert_eq!(
            symbols.trace("open", Some("tap")),
            changed("open.constprop.0")
        );
        assert_eq!(symbols.trace("init", Some("tun")), Trace::Function);
        assert_eq!(symbols.trace("open", Some("tun")), Trace::None);
        assert_eq!(Symbols::default().trace("do_close", None), Trace::Unknown);
    }

    #[test]
    fn malformed_table_has_no_functions() {
        let longest = [b'x'; 200_000];
        for odd in [&b"0 T a\n\n\n"[..], &[b'\n'; 99], &longest] {
            assert!(symbols(odd).lines.is_empty());
        }
    }
}
