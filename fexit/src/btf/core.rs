//! CO-RE with only the types that an object names.
//!
//! The relocation code (of `aya-obj`) looks through all types of the kernel for each relocation. A kernel has a
//! hundred thousand; an object names a handful. So it is given a blob of just those and what they embed, cut from the
//! kernel's BTF. What lies behind a pointer is only ever asked for its kind, so it is kept without its members.

use std::collections::{BTreeMap, HashMap};

use super::raw::{Kind, Raw, Type};

/// `BPF_CORE_TYPE_ID_TARGET`: the one relocation that wants an id of the kernel's BTF.
const TYPE_ID_TARGET: u32 = 7;

/// One CO-RE relocation of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CoreRelocation {
    /// Offset of the name of the program section.
    pub(crate) section_name: u32,
    /// Offset of the instruction in its section, in bytes.
    pub(crate) insn_off: u32,
    /// The local type.
    pub(crate) type_id: u32,
    /// Offset of the access string (`0:1:2`).
    pub(crate) access: u32,
    pub(crate) kind: u32,
}

impl CoreRelocation {
    pub(crate) fn wants_target_id(&self) -> bool {
        self.kind == TYPE_ID_TARGET
    }
}

/// The CO-RE relocations in a `.BTF.ext` section; `None` when it is malformed.
pub(crate) fn relocations(ext: &[u8]) -> Option<Vec<CoreRelocation>> {
    let word = |at: usize| {
        let bytes = ext.get(at..at.checked_add(4)?)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    };
    let header = word(4)? as usize;
    if header < 32 {
        return Some(Vec::new()); // written before CO-RE
    }
    let start = header.checked_add(word(24)? as usize)?;
    let end = start.checked_add(word(28)? as usize)?;
    if start == end {
        return Some(Vec::new());
    }
    let size = word(start)? as usize;
    if size < 16 || end > ext.len() {
        return None;
    }
    let mut found = Vec::new();
    let mut at = start + 4;
    while at < end {
        let section_name = word(at)?;
        let count = word(at + 4)?;
        at += 8;
        for _ in 0..count {
            if at.checked_add(size)? > end {
                return None;
            }
            found.push(CoreRelocation {
                section_name,
                insn_off: word(at)?,
                type_id: word(at + 4)?,
                access: word(at + 8)?,
                kind: word(at + 12)?,
            });
            at += size;
        }
    }
    Some(found)
}

/// Removes the CO-RE relocations of all sections but those whose name, by its offset, is to be kept.
pub(crate) fn keep_sections(ext: &mut [u8], keep: impl Fn(u32) -> bool) {
    if relocations(ext).is_none_or(|all| all.is_empty()) {
        return;
    }
    // Everything lies where `relocations` has found it.
    let word = |at: usize| {
        ext.get(at..at + 4)
            .map_or(0, |b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
    };
    let start = word(4) as usize + word(24) as usize;
    let end = start + word(28) as usize;
    let size = word(start) as usize;
    let mut kept = ext[start..start + 4].to_vec();
    let mut at = start + 4;
    while at < end {
        let next = at + 8 + size * word(at + 4) as usize;
        if keep(word(at)) {
            kept.extend(&ext[at..next]);
        }
        at = next;
    }
    let len = if kept.len() == 4 { 0 } else { kept.len() };
    ext[28..32].copy_from_slice(&u32::try_from(len).unwrap_or(0).to_ne_bytes());
    ext[start..start + kept.len()].copy_from_slice(&kept);
}

/// The part of the kernel's BTF that an object's CO-RE relocations can see.
pub(crate) struct Cut {
    /// BTF of its own, with ids from 1.
    pub(crate) bytes: Vec<u8>,
    /// The kernel's id of each of its types.
    pub(crate) kernel_ids: Vec<u32>,
}

/// Stands between a name and its flavour: `task_struct___old` is a view of `task_struct`.
const FLAVOUR: &[u8] = b"___";

/// A name without its flavour.
fn essential(name: &[u8]) -> &[u8] {
    let flavour = name.windows(3).position(|w| w == FLAVOUR);
    flavour.map_or(name, |at| &name[..at])
}

/// Names to look for among a hundred thousand, by their first byte: that passes over most.
struct Wanted<'a>(Vec<Vec<&'a [u8]>>);

impl<'a> Wanted<'a> {
    fn new() -> Self {
        Self(vec![Vec::new(); 256])
    }

    fn add(&mut self, name: &'a [u8]) {
        let essential = essential(name);
        // Nothing but a flavour begins with what stands before a flavour.
        let first = essential.first().unwrap_or(&FLAVOUR[0]);
        let names = &mut self.0[usize::from(*first)];
        if !names.contains(&essential) {
            names.push(essential);
        }
    }

    /// Whether the name that `strings` begin with is one of them, of whatever flavour.
    #[inline]
    fn has(&self, strings: &[u8]) -> bool {
        let Some(&first) = strings.first() else {
            return false;
        };
        let ends = |rest: &[u8]| rest.first() == Some(&0) || rest.starts_with(FLAVOUR);
        let names = self.0[usize::from(first)].iter();
        names
            .filter_map(|name| strings.strip_prefix(*name))
            .any(ends)
    }
}

/// Cuts out of `kernel` what relocations against the types `wanted` of `local` may look at.
///
/// `None` when a wanted type has no name: then any type of the kernel may be meant, and the whole of it is needed.
pub(crate) fn cut(kernel: &Raw, local: &Raw, wanted: impl Iterator<Item = u32>) -> Option<Cut> {
    let mut names = Wanted::new();
    for id in wanted {
        let name = local
            .by_id(id)
            .and_then(|t| local.string(t.name_off()))
            .unwrap_or_default();
        if name.is_empty() {
            return None;
        }
        names.add(name);
    }
    let mut cutter = Cutter {
        kernel,
        keep: BTreeMap::new(),
        queue: Vec::new(),
    };
    for t in kernel.types() {
        if t.name_off() != 0 && t.kind.is_data() && names.has(kernel.strings_from(t.name_off())) {
            cutter.want(t.id, true);
        }
    }
    cutter.follow();
    Some(cutter.finish())
}

struct Cutter<'a> {
    kernel: &'a Raw,
    /// Kept types, and whether with their members.
    keep: BTreeMap<u32, bool>,
    queue: Vec<(u32, bool)>,
}

impl Cutter<'_> {
    fn want(&mut self, id: u32, whole: bool) {
        if id == 0 {
            return;
        }
        let known = self.keep.get(&id).copied();
        if known.is_none() || (known == Some(false) && whole) {
            self.keep.insert(id, whole);
            self.queue.push((id, whole));
        }
    }

    fn follow(&mut self) {
        while let Some((id, whole)) = self.queue.pop() {
            let Some(t) = self.kernel.by_id(id) else {
                continue;
            };
            if is_stub(&t, whole) {
                continue;
            }
            let whole = whole && t.kind != Kind::Ptr;
            for word in t.reference_words() {
                self.want(t.word(word), whole);
            }
        }
    }

    fn finish(self) -> Cut {
        let kernel_ids: Vec<u32> = self.keep.keys().copied().collect();
        let new_ids: HashMap<u32, u32> = kernel_ids.iter().copied().zip(1u32..).collect();
        let mut strings = Strings {
            bytes: vec![0],
            known: HashMap::from([(0, 0)]),
        };
        let mut types = Vec::new();
        for (&id, &whole) in &self.keep {
            let Some(t) = self.kernel.by_id(id) else {
                continue;
            };
            let mut record: Vec<u32> = t.words().collect();
            let stub = is_stub(&t, whole);
            for word in t.name_words() {
                record[word] = strings.add(self.kernel, record[word]);
            }
            for word in t.reference_words() {
                record[word] = new_ids.get(&record[word]).copied().unwrap_or(0);
            }
            if stub {
                record.truncate(3);
                record[1] &= !0xffff; // no members
            }
            types.extend(record.iter().flat_map(|word| word.to_ne_bytes()));
        }
        Cut {
            bytes: assemble(&types, &strings.bytes),
            kernel_ids,
        }
    }
}

/// A struct or union of which only the name, kind and size are kept.
fn is_stub(t: &Type<'_>, whole: bool) -> bool {
    !whole && matches!(t.kind, Kind::Struct | Kind::Union)
}

fn assemble(types: &[u8], strings: &[u8]) -> Vec<u8> {
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut out = Vec::with_capacity(24 + types.len() + strings.len());
    out.extend(super::raw::MAGIC.to_ne_bytes());
    out.extend([1, 0]); // version, flags
    for word in [24, 0, len(types), len(types), len(strings)] {
        out.extend(word.to_ne_bytes());
    }
    out.extend(types);
    out.extend(strings);
    out
}

struct Strings {
    bytes: Vec<u8>,
    known: HashMap<u32, u32>,
}

impl Strings {
    fn add(&mut self, from: &Raw, offset: u32) -> u32 {
        *self.known.entry(offset).or_insert_with(|| {
            let at = u32::try_from(self.bytes.len()).unwrap_or(0);
            self.bytes.extend(from.string(offset).unwrap_or_default());
            self.bytes.push(0);
            at
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_wanted_in_every_flavour() {
        let mut names = Wanted::new();
        for name in ["task_struct", "task_struct___old", "file___x___y", "___odd"] {
            names.add(name.as_bytes());
        }
        for (name, wanted) in [
            ("task_struct", true),
            ("task_struct___new", true),
            ("task_struct_", false),
            ("task_structs", false),
            ("task", false),
            ("file", true),
            ("file___x", true),
            ("___other", true),
            ("__other", false),
            ("", false),
        ] {
            let strings = format!("{name}\0another\0");
            assert_eq!(names.has(strings.as_bytes()), wanted, "{name}");
        }
    }
}
