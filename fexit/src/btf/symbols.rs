//! How many functions of the kernel bear a name.
//!
//! BTF lists a name once, however many static functions bear it, and the kernel then attaches to the first that it
//! finds: likely another one than was meant. Kernels that check this for kprobes (6.7, and stable ones since) tell at
//! once. For the others there is only `/proc/kallsyms`, and reading it takes longer than all else that a load does, so
//! that is done once in the life of a process.

use std::fs;
use std::sync::OnceLock;

use crate::sys::perf;

/// A function of the kernel proper, as a line of the symbol table shows it: address and name.
fn function(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut fields = line.splitn(3, |&byte| byte == b' ');
    let (address, kind, name) = (fields.next()?, fields.next()?, fields.next()?);
    let text = matches!(kind, b"t" | b"T" | b"w" | b"W");
    (text && !name.contains(&b'\t')).then_some((address, name))
}

fn functions(table: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    table.split(|&byte| byte == b'\n').filter_map(function)
}

/// Reads the table; empty when the process may not.
fn read_table() -> Vec<u8> {
    fs::read("/proc/kallsyms").unwrap_or_default()
}

/// FNV-1a: the table has two hundred thousand names, and nobody attacks with them.
fn hash(name: &[u8]) -> u64 {
    name.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Hashes of the names that several functions of the kernel bear, in order.
fn shared_names(table: &[u8]) -> Vec<u64> {
    let mut all: Vec<u64> = functions(table).map(|(_, name)| hash(name)).collect();
    all.sort_unstable();
    let mut shared: Vec<u64> = all
        .windows(2)
        .filter(|w| w[0] == w[1])
        .map(|w| w[0])
        .collect();
    shared.dedup();
    shared
}

/// The functions that bear this name, if they are several: `name at ADDRESS`.
pub(super) fn namesakes(name: &str) -> Vec<String> {
    if kernel_says_several(name).unwrap_or_else(|| table_says_several(name)) {
        candidates(&read_table(), name)
    } else {
        Vec::new()
    }
}

/// What the kernel says when asked for a kprobe on that name; `None` when it does not count names.
fn kernel_says_several(name: &str) -> Option<bool> {
    /// Every kernel has several functions of this name: slab constructors of file systems and the like.
    const KNOWN_TO_BE_SEVERAL: &str = "init_once";
    static COUNTS: OnceLock<bool> = OnceLock::new();
    let several = perf::names_several(name)?;
    let counts = || perf::names_several(KNOWN_TO_BE_SEVERAL) == Some(true);
    (several || *COUNTS.get_or_init(counts)).then_some(several)
}

fn table_says_several(name: &str) -> bool {
    static SHARED: OnceLock<Vec<u64>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| shared_names(&read_table()));
    shared.binary_search(&hash(name.as_bytes())).is_ok()
}

fn candidates(table: &[u8], name: &str) -> Vec<String> {
    let bearers: Vec<String> = functions(table)
        .filter(|(_, found)| *found == name.as_bytes())
        .map(|(address, _)| format!("{name} at 0x{}", String::from_utf8_lossy(address)))
        .collect();
    if bearers.len() > 1 {
        bearers
    } else {
        Vec::new()
    }
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

pub(super) fn trace(name: &str) -> Trace {
    trace_in(&read_table(), name)
}

fn trace_in(table: &[u8], name: &str) -> Trace {
    if table.is_empty() {
        return Trace::Unknown;
    }
    let mut changed = Trace::None;
    for (_, found) in functions(table) {
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
        cut";

    #[test]
    fn only_functions_of_the_kernel_proper_count() {
        assert_eq!(shared_names(TABLE), [hash(b"init_once")]);
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

    #[test]
    fn what_is_left_of_a_function_is_found() {
        assert_eq!(trace_in(TABLE, "state"), Trace::Function);
        assert_eq!(
            trace_in(TABLE, "do_open"),
            Trace::Changed("do_open.isra.0".to_owned())
        );
        assert_eq!(trace_in(TABLE, "do_close"), Trace::None);
        assert_eq!(trace_in(b"", "do_close"), Trace::Unknown);
    }
}
