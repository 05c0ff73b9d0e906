//! Why a name was not found: looked into only once it was not, so it costs nothing otherwise.

use std::path::Path;

use super::function::Scope;
use super::raw::Kind;
use super::symbols::{self, Trace};
use super::{BtfError, MODULE_BTF};

/// How many similar names an error lists.
const NEAREST: usize = 3;

pub(super) fn unknown_function(scope: Scope<'_>, name: &str, place: &str) -> BtfError {
    BtfError::UnknownBtfTypeName {
        type_name: name.to_owned(),
        scope: place.to_owned(),
        reason: reason(name),
        nearest: nearest(scope, name),
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
fn reason(name: &str) -> String {
    match symbols::trace(name) {
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

pub(super) fn nearest(scope: Scope<'_>, name: &str) -> Vec<String> {
    let mut scored: Vec<(f64, &str)> = scope
        .own
        .types()
        .filter(|t| t.kind == Kind::Func)
        .filter_map(|t| scope.string(t.name_off()))
        // Comparing is slow, and names of another length are not alike.
        .filter(|candidate| candidate.len().abs_diff(name.len()) <= name.len() / 3)
        .filter_map(|candidate| std::str::from_utf8(candidate).ok())
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(score, _)| *score > 0.8)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored.dedup_by_key(|(_, candidate)| *candidate);
    scored
        .into_iter()
        .take(NEAREST)
        .map(|(_, candidate)| candidate.to_owned())
        .collect()
}
