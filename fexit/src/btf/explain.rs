//! Why a name was not found: looked into only once it was not, so it costs nothing otherwise.

use std::path::Path;

use super::function::Scope;
use super::symbols::{Symbols, Trace};
use super::{BtfError, MODULE_BTF, nearest};

/// `symbols` are those of the place where the function was looked for, if they are known.
pub(super) fn unknown_function(
    scope: Scope<'_>,
    name: &str,
    place: &str,
    symbols: Option<&Symbols>,
) -> BtfError {
    let trace = symbols.map_or(Trace::Unknown, |symbols| symbols.trace(name));
    let modules = match trace {
        Trace::None => symbols.map_or_else(Vec::new, |symbols| symbols.modules_with(name)),
        _ => Vec::new(),
    };
    BtfError::UnknownBtfTypeName {
        type_name: name.to_owned(),
        scope: place.to_owned(),
        reason: if modules.is_empty() {
            reason(trace)
        } else {
            format!(
                "it is a function of module {}, whose BTF does not hold it or is not shown \
                 (CONFIG_DEBUG_INFO_BTF_MODULES=y)",
                modules.join(", ")
            )
        },
        nearest: nearest::functions(scope, name),
    }
}

pub(super) fn unknown_module(name: &str) -> BtfError {
    let reason = if !Path::new(MODULE_BTF).exists() {
        "this kernel shows no BTF at all".to_owned()
    } else if Path::new("/sys/module").join(name).exists() {
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

/// What the symbol table says of a function that BTF does not list.
fn reason(trace: Trace) -> String {
    match trace {
        Trace::Function => {
            "the function exists, but has no BTF: it is written in assembly, is an alias, or \
                            was left out because its copies differ"
                .to_owned()
        }
        Trace::Changed(copy) => format!(
            "the compiler has only kept a changed copy of it (`{copy}`), which cannot be traced"
        ),
        Trace::None => {
            "this kernel has no function of that name, or it was inlined everywhere".to_owned()
        }
        Trace::Unknown => "it does not exist there or was inlined".to_owned(),
    }
}
