//! A filter for names of types, of which a kernel has 100,000.

use std::collections::BTreeSet;

/// Separates a name from its flavour: `task_struct___old` is a flavour of `task_struct`.
const FLAVOUR: &[u8] = b"___";

/// A name without its flavour.
pub(super) fn strip_flavor(name: &[u8]) -> &[u8] {
    let flavour = name.windows(3).position(|w| w == FLAVOUR);
    flavour.map_or(name, |at| &name[..at])
}

/// Names, exact or in every flavour.
pub(super) struct NameFilter<'a> {
    names: BTreeSet<&'a [u8]>,
    flavours: bool,
}

impl<'a> NameFilter<'a> {
    /// Names in every flavour.
    pub(super) fn new(names: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self {
            names: names.into_iter().map(strip_flavor).collect(),
            flavours: true,
        }
    }

    /// Exact names.
    pub(super) fn exactly(names: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self {
            names: names.into_iter().collect(),
            flavours: false,
        }
    }

    /// The name that `strings` begin with.
    pub(super) fn find(&self, strings: &[u8]) -> Option<&'a [u8]> {
        let name = &strings[..memchr::memchr(0, strings)?];
        if name.is_empty() {
            return None;
        }
        let name = if self.flavours {
            strip_flavor(name)
        } else {
            name
        };
        self.names.get(name).copied()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'a [u8]> {
        self.names.iter().copied()
    }

    pub(super) fn remove(&mut self, found: &[&[u8]]) {
        self.names.retain(|name| !found.contains(name));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

/// The number of bytes that are compared first.
pub(super) const PREFIX: usize = 4;

/// The first bytes of the names. It rejects most other names in a few instructions.
pub(super) struct PrefixFilter {
    /// By hash. A collision only costs a full comparison.
    hashes: Box<[bool; 1 << Self::BITS]>,
}

impl PrefixFilter {
    const BITS: u32 = 12;

    pub(super) fn of(all: [&NameFilter<'_>; 2]) -> Self {
        let mut prefixes = Self {
            hashes: Box::new([false; 1 << Self::BITS]),
        };
        for name in all.iter().flat_map(|filter| filter.names()) {
            prefixes.add(name);
        }
        prefixes
    }

    fn add(&mut self, name: &[u8]) {
        if let Some(prefix) = name.first_chunk() {
            self.hashes[Self::hash(*prefix)] = true;
            return;
        }
        // A short name ends with a NUL, after which anything may follow, or with a flavour.
        let flavour: Vec<u8> = name.iter().chain(FLAVOUR).copied().collect();
        match (flavour.first_chunk(), name) {
            (Some(prefix), [a, b, c]) => {
                self.hashes[Self::hash(*prefix)] = true;
                self.hashes[Self::hash([*a, *b, *c, 0])] = true;
            }
            // No type has such a name.
            _ => self.hashes.fill(true),
        }
    }

    #[inline]
    fn hash(prefix: [u8; PREFIX]) -> usize {
        let hash = u32::from_le_bytes(prefix).wrapping_mul(0x9e37_79b1);
        (hash >> (u32::BITS - Self::BITS)) as usize
    }

    /// Whether a name with this prefix may be one of them.
    #[inline]
    pub(super) fn have(&self, prefix: [u8; PREFIX]) -> bool {
        self.hashes[Self::hash(prefix)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_matches_in_every_flavour() {
        let all = [
            "task_struct",
            "task_struct___old",
            "file___x___y",
            "___odd",
            "p",
        ];
        let mut names = NameFilter::new(all.map(str::as_bytes));
        let exact = NameFilter::exactly(all.map(str::as_bytes));
        for (name, expected) in [
            ("task_struct", true),
            ("task_struct___new", true),
            ("task_struct_", false),
            ("task_structs", false),
            ("task", false),
            ("file", true),
            ("p", true),
            ("p___x", true),
            ("p_x", false),
            ("px", false),
            ("file___x", true),
            ("___other", true),
            ("__other", false),
            ("", false),
        ] {
            let strings = format!("{name}\0another\0");
            let strings = strings.as_bytes();
            let prefixes = PrefixFilter::of([&names, &exact]);
            assert!(!expected || prefixes.have(*strings.first_chunk().unwrap()));
            assert_eq!(names.find(strings).is_some(), expected, "{name}");
            assert_eq!(exact.find(strings).is_some(), all.contains(&name), "{name}");
        }
        names.remove(&[b"task_struct", b"file"]);
        assert!(names.find(b"file\0").is_none() && names.find(b"___odd\0").is_some());
        names.remove(&[b"", b"p"]);
        assert!(names.is_empty());
    }

    #[test]
    fn prefix_filter_rejects_most_names() {
        let filter = NameFilter::new([&b"sock"[..], b"net"]);
        let prefixes = PrefixFilter::of([&filter, &NameFilter::exactly([])]);
        for name in [b"sock", b"net\0", b"net_"] {
            assert!(prefixes.have(*name));
        }
        let all = (0..=u16::MAX).map(|n| [b'x', b'y', n.to_le_bytes()[0], n.to_le_bytes()[1]]);
        let passed = all.filter(|prefix| prefixes.have(*prefix)).count();
        assert!(passed < 1000, "{passed}");
    }
}
