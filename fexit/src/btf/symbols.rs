//! What the kernel's symbol table knows of a function's name.
//!
//! The kernel writes that table, `/proc/kallsyms`, anew for each reader, line by line, which takes longer than all else that
//! a load does. So it is read only where nothing else tells, once, and what is needed of it is kept.

use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::sync::OnceLock;

use super::pieces::pieces;

/// An address in the table: 16 digits on a 64-bit machine.
const ADDRESS_LEN: usize = 16;
/// Where the kind of a symbol stands in its line, and where its name begins.
const KIND_AT: usize = ADDRESS_LEN + 1;
const NAME_AT: usize = ADDRESS_LEN + 3;

/// The functions that the symbol table lists; empty when the process may not read it.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    /// Their lines, the kinds left out: address, name, newline.
    lines: Vec<u8>,
    /// The same of modules' functions, with the module behind the name.
    of_modules: Vec<u8>,
}

impl Symbols {
    pub(super) fn read() -> Self {
        File::open("/proc/kallsyms").map_or_else(|_| Self::default(), Self::of)
    }

    fn of(table: impl Read) -> Self {
        let mut symbols = Self::default();
        let _: Option<()> = each_function(table, |address, name| {
            let lines = if name.ends_with(b"]") {
                &mut symbols.of_modules
            } else {
                &mut symbols.lines
            };
            lines.extend_from_slice(address);
            lines.extend_from_slice(name);
            lines.push(b'\n');
            ControlFlow::Continue(())
        });
        symbols
    }

    /// The functions of the kernel proper.
    fn functions(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        split(&self.lines)
    }

    /// The functions of modules that bear this name: module and address of each.
    fn in_modules(&self, name: &str) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let bearers = split(&self.of_modules).filter_map(|(address, symbol)| {
            let module = symbol.strip_prefix(name.as_bytes())?;
            let module = module.strip_prefix(b"\t[")?.strip_suffix(b"]")?;
            Some((text(module), text(address)))
        });
        let mut all: Vec<_> = bearers.collect();
        all.sort();
        all
    }

    /// The modules that have a function of this name.
    pub(super) fn modules_with(&self, name: &str) -> Vec<String> {
        let all = self.in_modules(name).into_iter();
        let mut modules: Vec<String> = all.map(|(module, _)| module).collect();
        modules.dedup();
        modules
    }

    /// The functions of this module that bear this name, if they are several: `module:name at ADDRESS`.
    pub(super) fn namesakes_in_module(&self, module: &str, name: &str) -> Vec<String> {
        let bearers = self.in_modules(name).into_iter();
        let bearers: Vec<String> = bearers
            .filter(|(of, _)| of == module)
            .map(|(_, address)| format!("{module}:{name} at 0x{address}"))
            .collect();
        if bearers.len() > 1 {
            bearers
        } else {
            Vec::new()
        }
    }

    /// Each function of this name, if they are several: `name at ADDRESS`.
    pub(super) fn namesakes(&self, name: &str) -> Vec<String> {
        let bearers: Vec<String> = self
            .functions()
            .filter(|(_, found)| *found == name.as_bytes())
            .map(|(address, _)| format!("{name} at 0x{}", String::from_utf8_lossy(address)))
            .collect();
        if bearers.len() > 1 {
            bearers
        } else {
            Vec::new()
        }
    }

    /// What is left of a function that BTF does not list.
    pub(super) fn trace(&self, name: &str) -> Trace {
        if self.lines.is_empty() {
            return Trace::Unknown;
        }
        let mut changed = Trace::None;
        for (_, found) in self.functions() {
            match found.strip_prefix(name.as_bytes()) {
                Some(b"") => return Trace::Function,
                Some(suffix) if suffix.starts_with(b".") && !suffix.starts_with(b".cold") => {
                    changed = Trace::Changed(String::from_utf8_lossy(found).into_owned());
                }
                _ => {}
            }
        }
        changed
    }
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

/// What the symbol table holds of a name that BTF does not list.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trace {
    /// The function is there.
    Function,
    /// Only a copy that the compiler changed is, such as `name.isra.0`.
    Changed(String),
    /// Nothing is.
    None,
    /// The table cannot be read.
    Unknown,
}

/// Hands on address and name of each function, while the table is being read, until told to stop; the name of a module's
/// has the module behind it.
fn each_function<T>(
    table: impl Read,
    mut found: impl FnMut(&[u8], &[u8]) -> ControlFlow<T>,
) -> Option<T> {
    pieces(table, |piece| {
        let mut start = 0;
        while let Some(line) = line(&piece[start..]) {
            start += line.len() + 1;
            if let (Some(address), Some(b't' | b'T' | b'w' | b'W'), Some(name)) = (
                line.get(..ADDRESS_LEN),
                line.get(KIND_AT),
                line.get(NAME_AT..),
            ) && let ControlFlow::Break(result) = found(address, name)
            {
                return ControlFlow::Break(result);
            }
        }
        ControlFlow::Continue(start)
    })
}

/// The first line, without its end; it cannot end before its name begins.
fn line(table: &[u8]) -> Option<&[u8]> {
    let end = table
        .get(NAME_AT..)?
        .iter()
        .position(|&byte| byte == b'\n')?;
    table.get(..NAME_AT + end)
}

/// Whether several functions of the kernel bear this name, by the table, which is read once in the life of a process;
/// `None` when it cannot be read.
pub(super) fn table_says_several(name: &[u8]) -> Option<bool> {
    static SHARED: OnceLock<Vec<u64>> = OnceLock::new();
    let shared = match SHARED.get() {
        Some(shared) => shared,
        None => {
            let table = File::open("/proc/kallsyms").ok()?;
            SHARED.get_or_init(|| shared_names(table))
        }
    };
    Some(shared.binary_search(&hash(name)).is_ok())
}

/// Where the kernel's code ends. Behind it are data, half of the table, and what only runs at boot: that goes by the
/// same names at times, but the kernel takes the first bearer of a name.
const END_OF_CODE: &[u8] = b"_etext";

/// Hashes of the names that several functions of the kernel bear, in order.
fn shared_names(table: impl Read) -> Vec<u64> {
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
    let mut shared: Vec<u64> = repeated.map(|w| w[0]).collect();
    shared.dedup();
    shared
}

/// FNV-1a: the table has two hundred thousand names, and nobody attacks with them.
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
        ffffffffc0000000 t startup_64\t[nf_tables]\n\
        ffffffffc0000010 t init\t[tun]\n\
        ffffffffc0000020 d init\t[tun]\n\
        ffffffffc0000030 t init\t[tap]\n\
        ffffffffc0000040 t init\t[tap]\n\
        cut";

    /// Gives a few bytes at a time, so that lines come in pieces.
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
    fn only_functions_of_the_kernel_proper_count() {
        assert_eq!(shared_names(TABLE), [hash(b"init_once")]);
        assert_eq!(shared_names(Slowly(TABLE)), [hash(b"init_once")]);
        let behind_the_code = [b"ffffffff80000000 T _etext\n", TABLE].concat();
        assert!(shared_names(behind_the_code.as_slice()).is_empty());
        let symbols = symbols(TABLE);
        assert_eq!(
            symbols.namesakes("init_once"),
            [
                "init_once at 0xffffffff81000010",
                "init_once at 0xffffffff81000020"
            ]
        );
        assert!(symbols.namesakes("state").is_empty());
        assert!(symbols.namesakes("startup_64").is_empty());
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
        assert_eq!(symbols.namesakes_in_module("tap", "init").len(), 2);
        assert!(symbols.namesakes_in_module("tun", "init").is_empty());
    }

    #[test]
    fn what_is_left_of_a_function_is_found() {
        let symbols = symbols(TABLE);
        assert_eq!(symbols.trace("state"), Trace::Function);
        assert_eq!(
            symbols.trace("do_open"),
            Trace::Changed("do_open.isra.0".to_owned())
        );
        assert_eq!(symbols.trace("do_close"), Trace::None);
        assert_eq!(Symbols::default().trace("do_close"), Trace::Unknown);
    }

    #[test]
    fn a_table_of_another_form_has_no_functions() {
        let longest = [b'x'; 200_000];
        for odd in [&b"0 T a\n\n\n"[..], &[b'\n'; 99], &longest] {
            assert!(symbols(odd).lines.is_empty());
        }
    }
}
