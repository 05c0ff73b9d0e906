//! The text form of `harness functions`.

use std::fmt::Write as _;

use super::table::{Function, OnKernel, Table};
use crate::support::sanitize::plain;

/// The number of shown functions; `--json` has all.
const ROWS: usize = 200;

const LEGEND: &str = "\nA number: BTF lists the function, with the signature of that number. *: several functions have the \
                      name. -: BTF lists none.\n?: no BTF. Not in BTF: the kernel's deny list, and whether the symbol \
                      table has only a changed copy (.isra, .constprop).\n";

/// A table, and each signature once.
pub(super) fn page(table: &Table) -> String {
    let functions = table.functions();
    let shown = &functions[..functions.len().min(ROWS)];
    let width = shown.iter().map(|function| name(function).len()).max();
    let width = width.unwrap_or_default().max("function".len());
    let mut page = format!("{:<width$}", "function");
    for kernel in &table.kernels {
        let _ = write!(page, "  {kernel:<4}");
    }
    page.push('\n');
    for function in shown {
        let _ = write!(page, "{:<width$}", name(function));
        for (kernel, on) in table.kernels.iter().zip(&function.kernels) {
            let _ = write!(page, "  {:<1$}", cell(on), kernel.len().max(4));
        }
        page.push('\n');
    }
    if functions.len() > ROWS {
        let more = functions.len() - ROWS;
        let _ = writeln!(page, "... and {more} more: --json has all");
    }
    page.push('\n');
    for function in shown {
        let numbered = function.signatures.iter().zip(1..);
        for (signature, number) in numbered {
            let _ = writeln!(page, "{:<width$}  {number}  {signature};", name(function));
        }
    }
    page.push_str(LEGEND);
    let lines = page.lines().map(str::trim_end);
    let trimmed = lines.fold(String::new(), |page, line| page + line + "\n");
    plain(&trimmed).into_owned()
}

fn name(function: &Function) -> String {
    match &function.module {
        Some(module) => format!("{module}:{}", function.name),
        None => function.name.clone(),
    }
}

fn cell(on: &OnKernel) -> String {
    match (on.present, on.ambiguous, on.signatures.as_slice()) {
        (None, ..) => "?".to_owned(),
        (Some(_), true, _) => "*".to_owned(),
        (Some(_), false, [number]) => number.to_string(),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use fexit::{Btf, Endianness};

    use super::*;

    /// BTF with one function of this name for each result type: a header, the types, the strings.
    fn btf(functions: &[(&str, &str)]) -> Btf {
        let (mut types, mut strings) = (Vec::new(), vec![0]);
        let mut string = |text: &str| {
            let at = strings.len() as u32;
            strings.extend(text.bytes().chain([0]));
            at
        };
        let mut word = |words: &[u32]| types.extend(words.iter().flat_map(|w| w.to_ne_bytes()));
        for (id, (name, result)) in (1..).step_by(3).zip(functions) {
            word(&[string(result), 1 << 24, 4, 32]);
            word(&[0, 13 << 24, id]);
            word(&[string(name), 12 << 24, id + 1]);
        }
        let (types_len, strings_len) = (types.len() as u32, strings.len() as u32);
        let header = [0x0001_eb9f_u32, 24, 0, types_len, types_len, strings_len];
        let mut blob: Vec<u8> = header.iter().flat_map(|w| w.to_ne_bytes()).collect();
        blob.extend(types);
        blob.extend(strings);
        Btf::parse(&blob, Endianness::default()).unwrap()
    }

    #[test]
    fn signatures_are_numbered_by_kernel_and_shown_once() {
        let kernels = ["5.10", "6.1", "6.12", "7.3"];
        let mut table = Table::new(kernels.iter().map(ToString::to_string));
        let list =
            |functions: &[(&str, &str)]| Some(btf(functions).list_functions(&["*"]).unwrap());
        let seen = [
            list(&[("open", "int"), ("close", "int")]),
            list(&[("open", "long"), ("twice", "int"), ("twice", "int")]),
            list(&[("open", "int")]),
            None,
        ];
        table.add(None, &seen);
        table.add(Some("ext4"), &[None, seen[0].clone(), None, None]);
        let page = page(&table);
        for line in [
            "function    5.10  6.1   6.12  7.3",
            "close       1     -     -     ?",
            "open        1     2     1     ?",
            "twice       -     *     -     ?",
            "ext4:close  ?     1     ?     ?",
            "open        1  int open(void);",
            "open        2  long open(void);",
            "twice       1  int twice(void);",
        ] {
            assert!(page.lines().any(|l| l == line), "no `{line}` in\n{page}");
        }
        let functions = table.functions();
        let twice = functions.iter().find(|f| f.name == "twice").unwrap();
        let on = &twice.kernels[1];
        assert_eq!(
            (on.present, on.traceable, on.ambiguous),
            (Some(true), Some(false), true)
        );
        assert_eq!(twice.kernels[3].present, None);
    }
}
