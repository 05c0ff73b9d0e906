//! Functions by name: looked through while they are asked for now and then, indexed once they are asked for often.

use std::ops::ControlFlow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::raw::{Kind, Raw, Type};

/// To make the index takes as long as to look two or three times.
const LOOKS: u32 = 2;

#[derive(Debug, Default)]
pub(super) struct Names {
    looks: AtomicU32,
    /// What the first look found.
    first: OnceLock<(String, u32)>,
    /// Hash and place of each function, in order.
    index: OnceLock<Vec<(u32, u32)>>,
}

impl Names {
    /// Notes that a function is looked for; whether it is the first one.
    pub(super) fn is_first_look(&self) -> bool {
        self.looks.fetch_add(1, Ordering::Relaxed) == 0
    }

    /// What the first look found, if it was for this name.
    pub(super) fn first_found(&self, name: &str) -> Option<u32> {
        let (of, id) = self.first.get()?;
        (of == name).then_some(*id)
    }

    /// Notes what the first look has found.
    pub(super) fn note_first(&self, name: &str, found: Option<u32>) {
        if let Some(id) = found {
            self.first.get_or_init(|| (name.to_owned(), id));
        }
    }

    /// Notes that so many functions will likely be looked for.
    pub(super) fn expect(&self, names: usize) {
        if names > LOOKS as usize {
            self.looks.fetch_max(LOOKS + 1, Ordering::Relaxed);
        }
    }

    /// Whether there are or will be enough of them to make an index.
    pub(super) fn are_many(&self) -> bool {
        self.looks.load(Ordering::Relaxed) > LOOKS
    }

    /// The functions of `raw` that have this name.
    pub(super) fn functions(&self, raw: &Raw, name: &[u8]) -> Vec<u32> {
        if !self.are_many() {
            let mut found = Vec::new();
            look(raw, name, |id| {
                found.push(id);
                ControlFlow::Continue(())
            });
            return found;
        }
        let index = self.index.get_or_init(|| index(raw));
        let wanted = hash(name);
        let start = index.partition_point(|(hash, _)| *hash < wanted);
        let same = index[start..]
            .iter()
            .take_while(|(hash, _)| *hash == wanted);
        let types = same.filter_map(|&(_, id)| raw.by_id(id));
        let named = types.filter(|t| raw.is_named(t.name_off(), name));
        named.map(|t| t.id).collect()
    }
}

/// The first function of `raw` that has this name.
pub(super) fn first(raw: &Raw, name: &[u8]) -> Option<u32> {
    let mut first = None;
    look(raw, name, |id| {
        first = Some(id);
        ControlFlow::Break(())
    });
    first
}

/// Tells the functions of `raw` that have this name, until told to stop.
fn look(raw: &Raw, name: &[u8], mut found: impl FnMut(u32) -> ControlFlow<()>) {
    let strings = raw.strings();
    raw.walk(|head| {
        if head.kind() == Some(Kind::Func) && strings.is(head.name_off, name) {
            return found(head.id);
        }
        ControlFlow::Continue(())
    });
}

fn all(raw: &Raw) -> impl Iterator<Item = Type<'_>> {
    raw.types().filter(|t| t.kind == Kind::Func)
}

fn index(raw: &Raw) -> Vec<(u32, u32)> {
    let entry = |t: Type<'_>| (hash(raw.strings_from(t.name_off())), t.id);
    let mut index: Vec<(u32, u32)> = all(raw).map(entry).collect();
    index.sort_unstable();
    index
}

/// FNV-1a of the name that `strings` begin with: nobody attacks with names of the kernel's.
fn hash(strings: &[u8]) -> u32 {
    let name = strings.iter().take_while(|&&byte| byte != 0);
    name.fold(0x811c_9dc5, |hash, &byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}
