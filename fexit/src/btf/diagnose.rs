//! Diagnosis of a failed lookup of a function, tracepoint or module.

use super::error::{BtfError, MODULE_BTF, TRACEPOINT};
use super::kallsyms::{Symbols, Trace};
use super::scope::Scope;
use super::suggest;
use crate::sys;

/// The error about a function that is not in the BTF of the kernel, or of this module.
///
/// `is_running` says that it is the BTF of the running kernel, so that `symbols` apply.
pub(super) fn unknown_function(
    scope: Scope<'_>,
    name: &str,
    module: Option<&str>,
    (symbols, is_running): (&Symbols, bool),
) -> BtfError {
    let (bare, reason) = match not_a_name(name) {
        Some((bare, reason)) => (bare, reason.to_owned()),
        None => (name, why_not_there(name, module, symbols)),
    };
    BtfError::UnknownBtfTypeName {
        type_name: name.to_owned(),
        scope: place(module),
        reason,
        suggestions: suggest::functions(scope, bare, |name| {
            let trace = || symbols.trace(name, module);
            !is_running || matches!(trace(), Trace::Function | Trace::Unknown)
        }),
    }
}

/// The error about a tracepoint that is not in the BTF of the kernel, or of this module.
pub(super) fn unknown_tracepoint(scope: Scope<'_>, name: &str, module: Option<&str>) -> BtfError {
    let of_call = name.starts_with("sys_enter_") || name.starts_with("sys_exit_");
    BtfError::UnknownBtfTypeName {
        type_name: format!("{TRACEPOINT}{name}"),
        scope: place(module),
        reason: if of_call {
            "system calls share the tracepoints `sys_enter` and `sys_exit`, which tell the number of the call"
        } else if module.is_some() {
            "the module has no tracepoint of that name"
        } else {
            "neither the kernel nor a loaded module with BTF has a tracepoint of that name"
        }
        .to_owned(),
        suggestions: suggest::tracepoints(scope, name, TRACEPOINT),
    }
}

pub(super) fn place(module: Option<&str>) -> String {
    module.map_or_else(|| "the kernel".to_owned(), |name| format!("module {name}"))
}

/// The name in a text that is no valid name, and the reason.
fn not_a_name(name: &str) -> Option<(&str, &'static str)> {
    let (bare, reason) = if let Some((bare, _)) = name.split_once('+') {
        (
            bare,
            "a target has no offset, for the program runs when the function returns; give the name alone",
        )
    } else if name.contains('*') {
        (
            name,
            "`*` is a wildcard only in the targets of `fexit.multi` programs (Linux 7.2)",
        )
    } else if let Some((bare, _)) = name.split_once('.') {
        (
            bare,
            "BTF has no copies that the compiler made of a function (`.isra`, `.constprop`, `.part`, `.cold`)",
        )
    } else {
        return None;
    };
    Some((bare.trim_end_matches('*'), reason))
}

fn why_not_there(name: &str, module: Option<&str>, symbols: &Symbols) -> String {
    let trace = symbols.trace(name, module);
    if trace == Trace::None && module.is_none() {
        let modules = symbols.modules_with(name);
        if !modules.is_empty() {
            return format!(
                "it is a function of module {}, whose BTF does not hold it or is not shown \
                 (CONFIG_DEBUG_INFO_BTF_MODULES=y)",
                modules.join(", ")
            );
        }
    }
    reason(trace)
}

pub(super) fn unknown_module(name: &str) -> BtfError {
    let reason = if !sys::kernel_file(MODULE_BTF).exists() {
        "this kernel has no BTF".to_owned()
    } else if sys::kernel_file("/sys/module").join(name).exists() {
        "it is loaded, but the kernel keeps BTF of modules only from Linux 5.11 on and if built with \
         CONFIG_DEBUG_INFO_BTF_MODULES=y"
            .to_owned()
    } else {
        format!("it is not loaded; try `modprobe {name}`")
    };
    BtfError::UnknownModule {
        name: name.to_owned(),
        reason,
    }
}

/// The reason why BTF does not list a function, by the symbol table.
fn reason(trace: Trace) -> String {
    match trace {
        Trace::Function => "the function exists, but has no BTF: it is written in assembly, is an alias, or was left \
                            out because its copies differ"
            .to_owned(),
        Trace::Changed(copy) => changed(&copy),
        Trace::AtBoot => {
            "it only runs while the kernel boots (`__init`), and its memory is freed afterwards".to_owned()
        }
        Trace::None => {
            "this kernel has no function of that name, or it was inlined everywhere".to_owned()
        }
        Trace::Unknown => "it does not exist there or was inlined".to_owned(),
    }
}

/// Why a function with only this symbol cannot be a target.
fn changed(copy: &str) -> String {
    if copy.matches('.').count() == 1 && copy.ends_with(".cold") {
        return format!(
            "it was inlined, and the compiler has kept only the part of it that seldom runs (`{copy}`), which cannot \
             be traced; choose a function that calls it"
        );
    }
    format!(
        "the compiler has only kept a changed copy of it (`{copy}`), which cannot be traced; choose a function that \
         calls it, or one that it calls"
    )
}

/// Why the kernel has no address for a function in BTF, by the symbol table; none if unknown.
pub(super) fn without_address(
    name: &str,
    module: Option<&str>,
    symbols: &Symbols,
) -> Option<String> {
    match symbols.trace(name, module) {
        Trace::Function | Trace::Unknown => None,
        trace => Some(reason(trace)),
    }
}

#[cfg(test)]
mod tests {
    use super::not_a_name;

    #[test]
    fn invalid_names_are_recognized() {
        let bare = |name| not_a_name(name).map(|(bare, _)| bare);
        assert_eq!(bare("vfs_open"), None);
        assert_eq!(bare("vfs_open+0x4"), Some("vfs_open"));
        assert_eq!(bare("vfs_*"), Some("vfs_"));
        assert_eq!(
            bare("finish_task_switch.isra.0"),
            Some("finish_task_switch")
        );
    }
}
