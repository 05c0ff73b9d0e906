//! Functions that a kernel has only as copies that the compiler changed (`.constprop`, `.isra`), which nothing can attach to.

use std::fs;

use fexit::BtfError;
use fexit::programs::ProgramError;
use guest::scenario::skip;

/// Skips a scenario that failed because the kernel has a function only as a copy. The kernel's symbols are asked.
pub(crate) fn skip_if_only_a_copy(error: anyhow::Error) -> anyhow::Error {
    let target_of = |cause: &(dyn std::error::Error + 'static)| {
        target(cause.downcast_ref()?).map(str::to_owned)
    };
    let Some(function) = error.chain().find_map(target_of) else {
        return error;
    };
    let symbols = fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    match only_copy(&symbols, &function) {
        Some(copy) => skip(format!(
            "this kernel has {function} only as {copy}, a copy that the compiler changed"
        )),
        None => error,
    }
}

/// The function that an error is about.
fn target(error: &ProgramError) -> Option<&str> {
    match error {
        ProgramError::Btf(BtfError::UnknownBtfTypeName { type_name, .. }) => Some(type_name),
        ProgramError::TargetRefused { target, .. } => Some(target),
        _ => None,
    }
}

/// The copy of a function that `/proc/kallsyms` lists, if it does not list the function itself.
fn only_copy<'a>(symbols: &'a str, function: &str) -> Option<&'a str> {
    let names = || {
        symbols
            .lines()
            .filter_map(|line| line.split_whitespace().nth(2))
    };
    let is_copy = |name: &&str| {
        let suffix = name.strip_prefix(function);
        suffix.is_some_and(|suffix| suffix.starts_with('.'))
    };
    names()
        .find(is_copy)
        .filter(|_| names().all(|name| name != function))
}

#[cfg(test)]
mod tests {
    use super::*;
    use guest::scenario::Skip;

    #[test]
    fn function_that_has_only_a_changed_copy_is_recognized() {
        let symbols =
            "0 t rt_fill_info.constprop.0\n0 T rt_fill_infos\n0 t vfs_open\n0 t vfs_open.cold\n";
        for (function, copy) in [
            ("rt_fill_info", Some("rt_fill_info.constprop.0")),
            ("vfs_open", None),
            ("rt_fill", None),
            ("gone", None),
        ] {
            assert_eq!(only_copy(symbols, function), copy, "{function}");
        }
    }

    #[test]
    fn error_about_something_else_stays() {
        for error in [anyhow::anyhow!("why"), ProgramError::NotLoaded.into()] {
            let text = error.to_string();
            let kept = skip_if_only_a_copy(error);
            assert!(!kept.is::<Skip>());
            assert_eq!(kept.to_string(), text);
        }
    }
}
