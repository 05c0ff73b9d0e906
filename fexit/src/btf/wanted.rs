//! Names to look for among a hundred thousand.

use std::collections::BTreeMap;

/// Stands between a name and its flavour: `task_struct___old` is a view of `task_struct`.
const FLAVOUR: &[u8] = b"___";

/// A name without its flavour.
fn essential(name: &[u8]) -> &[u8] {
    let flavour = name.windows(3).position(|w| w == FLAVOUR);
    flavour.map_or(name, |at| &name[..at])
}

/// Names, by the two bytes that they begin with: most others do not begin so.
pub(super) struct Wanted<'a> {
    /// A bit for each two bytes.
    beginnings: Vec<u64>,
    names: BTreeMap<u16, Vec<&'a [u8]>>,
}

impl<'a> Wanted<'a> {
    pub(super) fn new() -> Self {
        Self {
            beginnings: vec![0; (1 << 16) / 64],
            names: BTreeMap::new(),
        }
    }

    /// Wants a name in every flavour.
    pub(super) fn add(&mut self, name: &'a [u8]) {
        let essential = essential(name);
        // What follows a short one: its end, or a flavour.
        for behind in [&b"\0"[..], FLAVOUR] {
            let beginning: Vec<u8> = essential.iter().chain(behind).take(2).copied().collect();
            let Ok(beginning) = <[u8; 2]>::try_from(beginning) else {
                continue;
            };
            let beginning = u16::from_ne_bytes(beginning);
            self.beginnings[usize::from(beginning) / 64] |= 1 << (beginning % 64);
            let names = self.names.entry(beginning).or_default();
            if !names.contains(&essential) {
                names.push(essential);
            }
        }
    }

    /// The one of them that `strings` begin with, of whatever flavour.
    #[inline]
    pub(super) fn find(&self, strings: &[u8]) -> Option<&'a [u8]> {
        let beginning = u16::from_ne_bytes(*strings.first_chunk()?);
        let bits = self.beginnings[usize::from(beginning) / 64];
        if bits >> (beginning % 64) & 1 == 0 {
            return None;
        }
        let ends = |rest: &[u8]| rest.first() == Some(&0) || rest.starts_with(FLAVOUR);
        let names = self.names.get(&beginning)?.iter().copied();
        let mut found = names.filter(|name| strings.strip_prefix(*name).is_some_and(ends));
        found.next()
    }

    pub(super) fn remove(&mut self, found: &[&[u8]]) {
        for names in self.names.values_mut() {
            names.retain(|name| !found.contains(name));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.values().all(Vec::is_empty)
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
            assert_eq!(names.find(strings.as_bytes()).is_some(), wanted, "{name}");
        }
        names.remove(&[b"task_struct", b"file"]);
        assert!(names.find(b"file\0").is_none() && names.find(b"___odd\0").is_some());
        names.remove(&[b""]);
        assert!(names.is_empty());
    }
}
