//! What an object file says that `aya-obj` does not keep.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;

use super::externs::{Extern, ExternKind};
use crate::btf::core::CoreRelocation;

/// A global variable and where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Global {
    /// The data section, which is also the map's name.
    pub(crate) section: String,
    pub(crate) offset: usize,
    pub(crate) size: usize,
}

/// What the file says in addition to what `aya-obj` keeps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extra {
    /// The section of each program, by the program's name.
    pub(crate) sections: BTreeMap<String, String>,
    /// The programs of kinds that nothing here can load, with their sections.
    pub(crate) other_programs: BTreeMap<String, String>,
    /// The programs whose section begins with `?`: the object does without them. Their sections stand without it.
    pub(crate) optional: BTreeSet<String>,
    /// What the `license` section says; empty if there is none.
    pub(crate) license: CString,
    pub(crate) globals: BTreeMap<String, Global>,
    /// What code refers to outside of the object; an instruction holds the place here of what it refers to.
    pub(crate) externs: Vec<Extern>,
    /// The object's own BTF.
    pub(crate) btf: Vec<u8>,
    pub(crate) core: Vec<CoreRelocation>,
    /// The `.BTF.ext` section that the parser is given.
    pub(crate) btf_ext: Vec<u8>,
    /// Index of each section, by name.
    pub(crate) section_index: BTreeMap<String, usize>,
}

impl Extra {
    /// The kernel functions that the object declares.
    pub(crate) fn functions(&self) -> impl Iterator<Item = &str> {
        let functions = self.externs.iter();
        let functions = functions.filter(|e| matches!(e.kind, ExternKind::Function(_)));
        functions.map(|function| function.name.as_str())
    }
}
