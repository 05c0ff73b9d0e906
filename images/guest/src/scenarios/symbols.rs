//! The kernel's symbol table. A kernel has 100,000 to 200,000 symbols, so each step takes few instructions.

use std::collections::HashMap;
use std::fs;

use anyhow::{Context as _, Result};
use memchr::{memchr, memmem};

/// The positions of the type and of the name in a line, which begins with an address of 16 digits.
const KIND: usize = 17;
const NAME: usize = 19;

/// `/proc/kallsyms`.
pub(super) struct Symbols(Vec<u8>);

impl Symbols {
    pub(super) fn read() -> Result<Self> {
        Ok(Self(fs::read("/proc/kallsyms")?))
    }

    /// The functions of the kernel itself, in the order of their addresses. First the code that remains after the kernel
    /// has booted, then the functions that only run until then.
    pub(super) fn functions(&self) -> Result<[impl Iterator<Item = &str>; 2]> {
        // On arm64 it belongs to the data that follow.
        let ends = [" T _etext\n", " D _etext\n"];
        let mut ends = ends
            .iter()
            .filter_map(|end| memmem::find(&self.0, end.as_bytes()));
        let end = ends.next().context("the table has no `_etext`")?;
        let (code, at_boot) = self.0.split_at(end);
        Ok([functions(code), functions(at_boot)])
    }

    /// How many symbols of the kernel itself have this name, functions and data.
    pub(super) fn count(&self, name: &str) -> usize {
        memmem::find_iter(&self.0, format!(" {name}\n").as_bytes()).count()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        memmem::find(&self.0, format!(" {name}\n").as_bytes()).is_some()
    }

    /// Whether a module has a function with this name.
    pub(super) fn is_in_module(&self, name: &str, module: &str) -> bool {
        memmem::find(&self.0, format!(" {name}\t[{module}]\n").as_bytes()).is_some()
    }

    /// The address of the first function with this name.
    pub(super) fn address(&self, function: &str) -> Result<u64> {
        let of_kind = |kind| memmem::find(&self.0, format!(" {kind} {function}\n").as_bytes());
        let end = ['T', 't'].into_iter().filter_map(of_kind).min();
        let address = end.and_then(|end| self.0.get(end.checked_sub(KIND - 1)?..end));
        let address = address.with_context(|| format!("kallsyms does not know {function}"))?;
        Ok(u64::from_str_radix(std::str::from_utf8(address)?, 16)?)
    }
}

/// The names of functions in lines of the table, without those of modules.
fn functions(mut lines: &[u8]) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        loop {
            let line = &lines[..memchr(b'\n', lines)?];
            lines = &lines[line.len() + 1..];
            if let (Some(b't' | b'T'), Some(name)) = (line.get(KIND), line.get(NAME..))
                && !name.ends_with(b"]")
                && let Ok(name) = std::str::from_utf8(name)
            {
                return Some(name);
            }
        }
    })
}

/// How often each name occurs.
pub(super) fn counts<'a>(names: impl Iterator<Item = &'a str>) -> HashMap<&'a str, usize> {
    let mut counts = HashMap::with_capacity(1 << 17);
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_and_counts_are_those_of_the_kernel_itself() {
        let table = "ffffffff81000000 T _stext\nffffffff81000010 t one\nffffffff81000020 d one\n\
                     ffffffff81000030 t one.cold\nffffffff82000000 T _etext\nffffffff83000000 t one\n\
                     ffffffffc0000000 t one\t[tun]\n";
        let symbols = Symbols(table.as_bytes().to_vec());
        let [code, at_boot] = symbols.functions().unwrap();
        assert_eq!(code.collect::<Vec<_>>(), ["_stext", "one", "one.cold"]);
        assert_eq!(at_boot.collect::<Vec<_>>(), ["one"]);
        assert_eq!(symbols.count("one"), 3);
        assert!(symbols.has("_etext") && !symbols.has("etext") && !symbols.has("two"));
        assert!(symbols.is_in_module("one", "tun") && !symbols.is_in_module("one", "tap"));
        assert_eq!(symbols.address("_stext").unwrap(), 0xffff_ffff_8100_0000);
        assert_eq!(symbols.address("one").unwrap(), 0xffff_ffff_8100_0010);
        assert!(symbols.address("two").is_err());
        assert_eq!(counts(["a", "b", "a"].into_iter())["a"], 2);
    }
}
