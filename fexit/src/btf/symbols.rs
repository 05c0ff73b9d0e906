//! The kernel's symbol table, for what BTF does not tell: how many functions bear a name.
//!
//! BTF lists a name once, however many static functions bear it, and the kernel then attaches to the first that it
//! finds: likely another one than was meant. Only `/proc/kallsyms` shows them all. Reading it takes longer than all else
//! that a load does, so it is read once in the life of a process.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::sync::OnceLock;

/// A function of the kernel proper, as a line of the symbol table shows it.
fn function(line: &str) -> Option<(&str, &str)> {
    let mut fields = line.split_ascii_whitespace();
    let (address, kind, name) = (fields.next()?, fields.next()?, fields.next()?);
    let text = matches!(kind, "t" | "T" | "w" | "W");
    (text && fields.next().is_none()).then_some((address, name))
}

/// Reads the table; empty when the process may not.
pub(super) fn table() -> String {
    fs::read("/proc/kallsyms")
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

/// Hashes of the names that several functions of the kernel bear, in order.
fn shared_names(table: &str) -> Vec<u64> {
    let mut seen: HashMap<&str, u32> = HashMap::with_capacity(1 << 16);
    for (_, name) in table.lines().filter_map(function) {
        *seen.entry(name).or_default() += 1;
    }
    let mut shared: Vec<u64> = seen
        .into_iter()
        .filter(|(_, times)| *times > 1)
        .map(|(name, _)| hash(name))
        .collect();
    shared.sort_unstable();
    shared
}

/// The functions that bear this name, if they are several: `name at ADDRESS`.
pub(super) fn namesakes(name: &str) -> Vec<String> {
    static SHARED: OnceLock<Vec<u64>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| shared_names(&table()));
    if shared.binary_search(&hash(name)).is_err() {
        return Vec::new();
    }
    candidates(&table(), name)
}

fn candidates(table: &str, name: &str) -> Vec<String> {
    let bearers: Vec<String> = table
        .lines()
        .filter_map(function)
        .filter(|(_, found)| *found == name)
        .map(|(address, _)| format!("{name} at 0x{address}"))
        .collect();
    if bearers.len() > 1 {
        bearers
    } else {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "ffffffff81000000 T startup_64\n\
        ffffffff81000010 t init_once\n\
        ffffffff81000020 t init_once\n\
        ffffffff81000030 d state\n\
        ffffffff81000040 t state\n\
        ffffffffc0000000 t startup_64\t[nf_tables]\n\
        cut";

    #[test]
    fn only_functions_of_the_kernel_proper_count() {
        assert_eq!(shared_names(TABLE), [hash("init_once")]);
        assert_eq!(
            candidates(TABLE, "init_once"),
            [
                "init_once at 0xffffffff81000010",
                "init_once at 0xffffffff81000020"
            ]
        );
        assert!(candidates(TABLE, "state").is_empty());
        assert!(candidates(TABLE, "startup_64").is_empty());
    }
}
