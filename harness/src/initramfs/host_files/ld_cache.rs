//! `/etc/ld.so.cache`, in which glibc's loader finds libraries outside of its default folders.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

/// The format since glibc 2.2. Before glibc 2.32 an older format may precede it.
const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const HEADER: usize = 48;
const ENTRY: usize = 24;

/// Libraries by name. A name may have several files, for different CPUs.
#[derive(Clone, Debug, Default)]
pub(super) struct LdCache(HashMap<String, Vec<PathBuf>>);

impl LdCache {
    /// Reads the cache; it is empty on a host without one (musl).
    pub(super) fn read(path: &Path) -> Self {
        std::fs::read(path)
            .ok()
            .and_then(|data| Self::parse(&data))
            .unwrap_or_default()
    }

    /// The files with this name, in the order of the loader.
    pub(super) fn find(&self, name: &str) -> &[PathBuf] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    fn parse(data: &[u8]) -> Option<Self> {
        let start = data
            .windows(MAGIC.len())
            .position(|window| window == MAGIC)?;
        let data = &data[start..];
        let number = |at: usize| {
            let bytes = data.get(at..at + 4)?.try_into().ok()?;
            usize::try_from(u32::from_le_bytes(bytes)).ok()
        };
        let text = |at: usize| {
            let bytes = data.get(at..)?;
            let end = bytes.iter().position(|&byte| byte == 0)?;
            std::str::from_utf8(&bytes[..end]).ok()
        };
        let mut found = Self::default();
        let entries = data.get(HEADER..)?.chunks_exact(ENTRY).len();
        for index in 0..number(MAGIC.len())?.min(entries) {
            let entry = HEADER + index * ENTRY;
            let (Some(name), Some(path)) = (
                number(entry + 4).and_then(text),
                number(entry + 8).and_then(text),
            ) else {
                continue;
            };
            let paths = found.0.entry(name.to_owned()).or_default();
            paths.push(path.into());
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut data = MAGIC.to_vec();
        data.extend((entries.len() as u32).to_le_bytes());
        data.resize(HEADER, 0);
        let (mut strings, start) = (Vec::new(), HEADER + entries.len() * ENTRY);
        for (name, path) in entries {
            data.extend([0; 4]);
            for text in [name, path] {
                data.extend(((start + strings.len()) as u32).to_le_bytes());
                strings.extend([text.as_bytes(), b"\0"].concat());
            }
            data.extend([0; 12]);
        }
        [data, strings].concat()
    }

    #[test]
    fn reads_duplicate_names_and_skips_an_old_format_header() {
        let data = cache(&[("a", "/x/v3/a"), ("b", "/b"), ("a", "/x/a")]);
        for data in [data.clone(), [b"ld.so-1.7.0\0\0\0\0\0", &data[..]].concat()] {
            let found = LdCache::parse(&data).unwrap();
            assert_eq!(found.find("a"), [Path::new("/x/v3/a"), Path::new("/x/a")]);
            assert_eq!(found.find("c"), [""; 0].map(Path::new));
        }
    }

    #[test]
    fn arbitrary_cache_content_does_not_panic() {
        let good = cache(&[("a", "/a"), ("b", "/b")]);
        for end in 0..good.len() {
            let _ = LdCache::parse(&good[..end]);
            let mut bad = good.clone();
            bad[end] = 0xff;
            let _ = LdCache::parse(&bad);
        }
    }

    #[test]
    fn hosts_ld_cache_lists_libc() {
        let cache = LdCache::read(Path::new("/etc/ld.so.cache"));
        assert!(cache.find("libc.so.6").iter().any(|path| path.exists()));
        assert!(LdCache::read(Path::new("/nonexistent")).0.is_empty());
    }
}
