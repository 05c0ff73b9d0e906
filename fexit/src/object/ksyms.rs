//! Addresses of the kernel's symbols (`__ksym` without a type), from its symbol table.

use std::fs::File;
use std::io::{self, BufRead, BufReader};

use crate::sys;

const TABLE: &str = "/proc/kallsyms";

/// The addresses of the symbol of this name in the kernel and its modules; none if there is none.
pub(crate) fn address(name: &str) -> Result<Option<u64>, String> {
    let cannot = |error: io::Error| format!("cannot read {TABLE}: {error}");
    let table = BufReader::new(File::open(sys::kernel_file(TABLE)).map_err(cannot)?);
    the_only(name, &find(table, name).map_err(cannot)?)
}

/// The addresses of all symbols of this name. Link-time optimisation appends `.llvm.` and a number to some names.
fn find(mut table: impl BufRead, name: &str) -> io::Result<Vec<u64>> {
    let (mut found, mut line) = (Vec::new(), Vec::new());
    while table.read_until(b'\n', &mut line)? > 0 {
        // An address of 16 digits, a type, the name; then the module, if any.
        let rest = line
            .get(19..)
            .and_then(|text| text.strip_prefix(name.as_bytes()));
        if rest.is_some_and(|rest| {
            [&b"\n"[..], b"\t", b".llvm."]
                .iter()
                .any(|end| rest.starts_with(end))
        }) && let Ok(address) = std::str::from_utf8(&line[..16])
            && let Ok(address) = u64::from_str_radix(address, 16)
        {
            found.push(address);
        }
        line.clear();
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn the_only(name: &str, found: &[u64]) -> Result<Option<u64>, String> {
    match found {
        [] => Ok(None),
        [0, ..] => Err(
            "the kernel hides the addresses of its symbols; `sysctl kernel.kptr_restrict=0` shows them to root"
                .to_owned(),
        ),
        [one] => Ok(Some(*one)),
        found => Err(format!("{} symbols are called `{name}`", found.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"ffffffff81000000 T one\n\
        ffffffff81000010 t two\n\
        ffffffff81000020 d two\n\
        ffffffff81000030 t local.llvm.123\n\
        ffffffffc0000000 t of_module\t[module]\n\
        0000000000000000 A hidden\n\
        odd\n";

    #[test]
    fn symbol_has_its_address_in_the_table() {
        let address = |name| the_only(name, &find(TABLE, name).unwrap());
        assert_eq!(address("one"), Ok(Some(0xffff_ffff_8100_0000)));
        assert_eq!(address("local"), Ok(Some(0xffff_ffff_8100_0030)));
        assert_eq!(address("of_module"), Ok(Some(0xffff_ffff_c000_0000)));
        assert_eq!(address("on"), Ok(None));
        assert!(address("two").unwrap_err().contains("2 symbols"));
        assert!(address("hidden").unwrap_err().contains("kptr_restrict"));
    }
}
