//! Lookup of functions and types by name. One pass over the types finds all prefetched names, or the name of an early
//! lookup; later lookups of functions use an index.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::error::BtfError;
use super::iter::Head;
use super::name_filter::{NameFilter, PrefixFilter, strip_flavor};
use super::raw::{Kind, Raw, Type};

/// The number of lookups from which on functions are indexed. Building the index takes as long as five passes.
const LOOKS: u32 = 2;

#[derive(Debug, Default)]
pub(super) struct Names {
    looks: AtomicU32,
    known: Mutex<Known>,
    /// Hash and position of each function, sorted.
    index: OnceLock<Vec<(u32, u32)>>,
}

/// A type with one of the names: its id, its kind, and the name without flavour.
pub(super) type Match<'n> = (u32, Kind, &'n [u8]);

/// The results of earlier lookups.
#[derive(Debug, Default)]
struct Known {
    functions: BTreeMap<Vec<u8>, Vec<u32>>,
    /// By name without flavour.
    types: BTreeMap<Vec<u8>, Vec<(u32, Kind)>>,
}

impl Names {
    /// Counts a lookup of a function; whether it is the first one.
    pub(super) fn is_first_look(&self) -> bool {
        self.looks.fetch_add(1, Ordering::Relaxed) == 0
    }

    pub(super) fn was_asked(&self) -> bool {
        self.looks.load(Ordering::Relaxed) > 0
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks up all these functions, and types in every flavour, in one pass, unless all are cached.
    pub(super) fn learn<'n>(
        &self,
        raw: &Raw,
        functions: impl IntoIterator<Item = &'n [u8]>,
        types: impl IntoIterator<Item = &'n [u8]>,
    ) -> Result<(), BtfError> {
        let mut known = self.known();
        let functions = functions.into_iter();
        let functions: Vec<_> = functions
            .filter(|name| !known.functions.contains_key(*name))
            .collect();
        let types = types.into_iter().map(strip_flavor);
        let types: Vec<_> = types
            .filter(|name| !known.types.contains_key(*name))
            .collect();
        if functions.is_empty() && types.is_empty() {
            return Ok(());
        }
        for name in &functions {
            known.functions.insert(name.to_vec(), Vec::new());
        }
        for name in &types {
            known.types.insert(name.to_vec(), Vec::new());
        }
        let (functions, types) = (NameFilter::exactly(functions), NameFilter::new(types));
        let prefixes = PrefixFilter::of([&functions, &types]);
        let strings = raw.strings();
        let known = &mut *known;
        let mut note = |head: Head<'_>| {
            let Some(kind) = head.kind() else { return };
            let named = strings.from(head.name_off);
            if kind == Kind::Func {
                let name = functions.find(named);
                if let Some(found) = name.and_then(|name| known.functions.get_mut(name)) {
                    found.push(head.id);
                }
            } else if kind.is_data() {
                let name = types.find(named);
                if let Some(found) = name.and_then(|name| known.types.get_mut(name)) {
                    found.push((head.id, kind));
                }
            }
        };
        raw.for_each(move |head| {
            if strings.may_be(head.name_off, &prefixes) {
                note(head);
            }
            ControlFlow::Continue(())
        });
        raw.check().or_else(|error| {
            // Types that were not found may be in the part that cannot be read.
            known.functions.retain(|_, found| !found.is_empty());
            types
                .names()
                .for_each(|name| drop(known.types.remove(name)));
            let has = |name| known.functions.contains_key(name);
            let all_found = types.is_empty() && functions.names().all(has);
            all_found.then_some(()).ok_or(error)
        })
    }

    /// The types of `raw` with one of these names, and the name.
    pub(super) fn types<'n>(
        &self,
        raw: &Raw,
        names: &NameFilter<'n>,
    ) -> Result<Vec<Match<'n>>, BtfError> {
        self.learn(raw, [], names.names())?;
        let known = self.known();
        let of = |name: &'n [u8]| {
            let found = known.types.get(name).into_iter().flatten();
            found.map(move |&(id, kind)| (id, kind, name))
        };
        Ok(names.names().flat_map(of).collect())
    }

    /// The cached functions with this name.
    pub(super) fn known_functions(&self, name: &[u8]) -> Option<Vec<u32>> {
        self.known().functions.get(name).cloned()
    }

    /// Caches the function with a name.
    pub(super) fn note(&self, name: &[u8], id: u32) {
        let mut known = self.known();
        known.functions.entry(name.to_vec()).or_insert(vec![id]);
    }

    /// The functions of `raw` with this name.
    ///
    /// Fails if none is found and some types cannot be read.
    pub(super) fn functions(&self, raw: &Raw, name: &[u8]) -> Result<Vec<u32>, BtfError> {
        if self.looks.load(Ordering::Relaxed) <= LOOKS {
            self.learn(raw, [name], [])?;
            return Ok(self.known_functions(name).unwrap_or_default());
        }
        let found = self.indexed_functions(raw, name);
        if found.is_empty() {
            raw.check()?;
        }
        Ok(found)
    }

    fn indexed_functions(&self, raw: &Raw, name: &[u8]) -> Vec<u32> {
        let index = self.index.get_or_init(|| index(raw));
        let key = hash(name);
        let start = index.partition_point(|(hash, _)| *hash < key);
        let same = index[start..].iter().take_while(|(hash, _)| *hash == key);
        let types = same.filter_map(|&(_, id)| raw.by_id(id));
        let named = types.filter(|t| raw.is_named(t.name_off(), name));
        named.map(|t| t.id).collect()
    }
}

/// The first function of `raw` with this name.
pub(super) fn first(raw: &Raw, name: &[u8]) -> Option<u32> {
    let strings = raw.strings();
    let mut first = None;
    raw.for_each(|head| {
        if head.kind() == Some(Kind::Func) && strings.is(head.name_off, name) {
            first = Some(head.id);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    first
}

fn index(raw: &Raw) -> Vec<(u32, u32)> {
    let entry = |t: Type<'_>| (hash(raw.strings_from(t.name_off())), t.id);
    let functions = raw.types().filter(|t| t.kind == Kind::Func);
    let mut index: Vec<(u32, u32)> = functions.map(entry).collect();
    index.sort_unstable();
    index
}

/// FNV-1a of the name that `strings` begin with: the kernel's names are trusted.
fn hash(strings: &[u8]) -> u32 {
    let name = strings.iter().take_while(|&&byte| byte != 0);
    name.fold(0x811c_9dc5, |hash, &byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::compile;

    const KERNEL: &str = "
        struct task { int a; }; struct task___old { long a; }; typedef struct task task; union taskless { int b; };
        int f(struct task *t, struct task___old *o, task *d, union taskless *u) { return t->a; }
        int g___x(int a) { return a; }
        int gg(int task) { return task; }
        SEC(\"fexit/f\") int p(void *ctx) { return 0; }";

    fn raw() -> Raw {
        let extra = crate::elf::examine(&compile(KERNEL)).unwrap().1;
        Raw::parse(extra.btf).unwrap()
    }

    #[test]
    fn prefetch_early_lookup_and_index_agree() {
        let raw = raw();
        let (at_once, indexed) = (Names::default(), Names::default());
        let all = ["f", "g___x", "gg", "g", "task", "p"].map(str::as_bytes);
        at_once.learn(&raw, all, []).unwrap();
        while indexed.looks.load(Ordering::Relaxed) <= LOOKS {
            indexed.is_first_look();
        }
        for name in all {
            let ids = Names::default().functions(&raw, name).unwrap();
            assert_eq!(at_once.known_functions(name), Some(ids.clone()));
            assert_eq!(indexed.functions(&raw, name).unwrap(), ids);
        }
        assert!(indexed.index.get().is_some());
        assert_eq!(at_once.known_functions(b"g"), Some(Vec::new()));
        assert_eq!(at_once.known_functions(b"gg").map(|ids| ids.len()), Some(1));
        assert!(at_once.known_functions(b"h").is_none());
    }

    #[test]
    fn types_are_found_in_all_flavours_whether_or_not_looked_for_before() {
        let raw = raw();
        let names = Names::default();
        let of = |name: &'static str| {
            let mut kinds: Vec<_> = names
                .types(&raw, &NameFilter::new([name.as_bytes()]))
                .unwrap()
                .into_iter()
                .map(|(id, kind, _)| (raw.by_id(id).unwrap().kind == kind).then_some(kind))
                .collect();
            kinds.sort_by_key(|kind| kind.map(|kind| kind as u8));
            kinds
        };
        names.learn(&raw, [], [&b"taskless"[..]]).unwrap();
        let task = [Kind::Struct, Kind::Struct, Kind::Typedef].map(Some);
        for _ in 0..2 {
            assert_eq!(of("task___other"), task);
            assert_eq!(of("taskless"), [Some(Kind::Union)]);
            assert_eq!(of("f"), []);
        }
    }
}
