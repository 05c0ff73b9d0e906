//! Functions by kernel, with the variants of their signatures.

use std::collections::BTreeMap;

use fexit::ListedFunction;
use serde::Serialize;

/// What a kernel lists; none if that cannot be told.
pub(super) type Seen = Option<Vec<ListedFunction>>;

/// A row for each function, a column for each kernel.
pub(super) struct Table {
    pub(super) kernels: Vec<String>,
    rows: BTreeMap<(Option<String>, String), Function>,
}

/// A function.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Function {
    /// Null for the kernel itself.
    pub(super) module: Option<String>,
    pub(super) name: String,
    /// Its signatures, numbered from 1 on by the order of the kernels.
    pub(super) signatures: Vec<String>,
    pub(super) kernels: Vec<OnKernel>,
}

/// A function on a kernel.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct OnKernel {
    pub(super) kernel: String,
    /// Whether BTF lists it; null if there is no BTF.
    pub(super) present: Option<bool>,
    /// Whether it can be a target, as far as BTF tells: it is listed, once.
    pub(super) traceable: Option<bool>,
    /// Whether several functions have the name.
    pub(super) ambiguous: bool,
    /// The numbers of its signatures there.
    pub(super) signatures: Vec<usize>,
}

impl Table {
    pub(super) fn new(kernels: impl Iterator<Item = String>) -> Self {
        Self {
            kernels: kernels.collect(),
            rows: BTreeMap::new(),
        }
    }

    /// Adds what each kernel lists.
    pub(super) fn add(&mut self, module: Option<&str>, seen: &[Seen]) {
        let module = module.map(str::to_owned);
        for found in seen.iter().flatten().flatten() {
            let key = (module.clone(), found.name.clone());
            let row = self.rows.entry(key).or_insert_with(|| Function {
                module: module.clone(),
                name: found.name.clone(),
                signatures: Vec::new(),
                kernels: Vec::new(),
            });
            if !row.signatures.contains(&found.prototype) {
                row.signatures.push(found.prototype.clone());
            }
        }
        let rows = self.rows.values_mut().filter(|row| row.module == module);
        for row in rows {
            let columns = self.kernels.iter().zip(seen);
            row.kernels = columns.map(|(kernel, seen)| row.on(kernel, seen)).collect();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn functions(&self) -> Vec<&Function> {
        self.rows.values().collect()
    }
}

impl Function {
    fn on(&self, kernel: &str, seen: &Seen) -> OnKernel {
        let found: Option<Vec<usize>> = seen.as_ref().map(|found| {
            let own = found.iter().filter(|one| one.name == self.name);
            let number = |one: &ListedFunction| {
                let at = self.signatures.iter().position(|s| *s == one.prototype);
                at.map(|at| at + 1)
            };
            own.filter_map(number).collect()
        });
        let count = found.as_ref().map(Vec::len);
        let mut signatures = found.unwrap_or_default();
        signatures.sort_unstable();
        signatures.dedup();
        OnKernel {
            kernel: kernel.to_owned(),
            present: count.map(|count| count > 0),
            traceable: count.map(|count| count == 1),
            ambiguous: count.is_some_and(|count| count > 1),
            signatures,
        }
    }
}
