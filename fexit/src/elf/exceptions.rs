//! Exception callbacks: the functions that the declaration tags `exception_callback:NAME` of programs name.

use std::collections::BTreeMap;

use object::elf::STT_FUNC;

use super::relocations::Symbol;
use super::sections::{Role, Section};
use crate::btf::raw::{Kind, Raw};

const TAG: &[u8] = b"exception_callback:";

/// The exception callbacks of an object's programs.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExceptionCallbacks {
    /// The section and address of each program's callback, or why it has none.
    of: BTreeMap<String, Result<(usize, u64), String>>,
    /// A tag that is not on a global function: libbpf loads no program then.
    misplaced: Option<String>,
}

impl ExceptionCallbacks {
    /// The callbacks, with libbpf's rules: they are global functions in `.text`. A program with several has none, and the
    /// verifier refuses it.
    pub(super) fn new(symbols: &[Symbol], sections: &[Section], btf: &Raw) -> Self {
        const WHOLE: u32 = u32::MAX;
        const GLOBAL: u32 = 1;
        let text =
            |offset| String::from_utf8_lossy(btf.string(offset).unwrap_or_default()).into_owned();
        let mut named: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut this = Self::default();
        for tag in btf
            .types()
            .filter(|t| t.kind == Kind::DeclTag && t.extra(0) == WHOLE)
        {
            let name = btf.string(tag.name_off()).unwrap_or_default();
            let Some(callback) = name.strip_prefix(TAG) else {
                continue;
            };
            let callback = String::from_utf8_lossy(callback).into_owned();
            match btf.by_id(tag.size_or_type()) {
                Some(t) if t.kind == Kind::Func && t.word(1) & 0xffff == GLOBAL => {
                    named.entry(text(t.name_off())).or_default().push(callback);
                }
                _ => this.misplaced = Some(callback),
            }
        }
        for (program, callbacks) in named {
            if let [callback] = callbacks.as_slice() {
                let found = find(symbols, sections, callback);
                this.of.insert(program, found);
            }
        }
        this
    }

    /// The section and address of this program's callback.
    pub(crate) fn of(&self, program: &str) -> Option<(usize, u64)> {
        self.of.get(program)?.as_ref().ok().copied()
    }

    /// Whether the program names a callback.
    pub(crate) fn is_named_by(&self, program: &str) -> bool {
        self.of.contains_key(program)
    }

    /// Why this program cannot be loaded.
    pub(crate) fn error(&self, program: &str) -> Option<String> {
        if let Some(callback) = &self.misplaced {
            return Some(format!(
                "the tag `exception_callback:{callback}` is on something that is no global function; put \
                 `__exception_cb` on a program"
            ));
        }
        let reason = self.of.get(program)?.as_ref().err()?;
        Some(format!(
            "program `{program}` names an exception callback, but {reason}"
        ))
    }
}

fn find(symbols: &[Symbol], sections: &[Section], callback: &str) -> Result<(usize, u64), String> {
    if callback.is_empty() {
        return Err("its name is empty".to_owned());
    }
    let mut found = symbols.iter().filter(|symbol| {
        let section = sections.get(symbol.section);
        symbol.kind == STT_FUNC
            && symbol.name == callback
            && section.is_some_and(|section| section.role == Role::Text)
    });
    match found.next() {
        None => Err(format!(
            "`{callback}` is no function of the section `.text`"
        )),
        Some(symbol) if !symbol.is_exported => Err(format!(
            "`{callback}` is static or hidden; make it a global function"
        )),
        Some(symbol) => Ok((symbol.section, symbol.start)),
    }
}
