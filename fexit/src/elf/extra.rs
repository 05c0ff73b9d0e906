//! The parts of an object file that `aya-obj` does not keep.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;

use super::exceptions::ExceptionCallbacks;
use super::externs::{Extern, ExternKind};
use super::map_values::MapValue;
use crate::btf::core::CoreRelocation;
use crate::btf::struct_ops::StructOps;

/// A global variable and its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Global {
    /// The data section, which is also the map's name.
    pub(crate) section: String,
    pub(crate) offset: usize,
    pub(crate) size: usize,
}

/// The parts of the file that `aya-obj` does not keep.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extra {
    /// The section of each program, by the program's name.
    pub(crate) sections: BTreeMap<String, String>,
    /// The programs that this library cannot load, with their sections.
    pub(crate) other_programs: BTreeMap<String, String>,
    /// The optional programs, whose section begins with `?`. `sections` has the names without it.
    pub(crate) optional: BTreeSet<String>,
    /// The text of the `license` section; empty if there is none.
    pub(crate) license: CString,
    pub(crate) globals: BTreeMap<String, Global>,
    /// The external symbols. An instruction refers to one by its index.
    pub(crate) externs: Vec<Extern>,
    /// The object's own BTF.
    pub(crate) btf: Vec<u8>,
    pub(crate) core: Vec<CoreRelocation>,
    pub(crate) exception_callbacks: ExceptionCallbacks,
    pub(crate) map_values: Vec<MapValue>,
    /// The initial values of global variables in an arena; none if there are no such variables.
    pub(crate) arena: Option<Vec<u8>>,
    /// The variables in `.struct_ops` and `.struct_ops.link`.
    pub(crate) struct_ops: Vec<StructOps>,
    /// The `map_extra` of maps that declare it by `__ulong`.
    pub(crate) map_extras: BTreeMap<String, u64>,
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
