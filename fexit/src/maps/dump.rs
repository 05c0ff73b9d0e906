//! The elements of a map as bytes, for callers that do not know their types.

use aya_obj::generated::bpf_map_type as t;

use super::key_iter::RawKeyIter;
use super::{Map, MapError};

/// A key and its value; of a per-CPU map, the values of all CPUs in order, each on a multiple of eight bytes.
pub type Entry = (Vec<u8>, Vec<u8>);

impl Map {
    /// The first `limit` elements as bytes, and whether there are more. For maps with lookup by key: arrays, hash maps and
    /// tries, also per-CPU ones.
    ///
    /// # Errors
    ///
    /// [`MapError::UnexpectedMapType`] for any other type, or what the kernel answered.
    pub fn entries(&self, limit: usize) -> Result<(Vec<Entry>, bool), MapError> {
        let map_types = [
            t::BPF_MAP_TYPE_ARRAY,
            t::BPF_MAP_TYPE_HASH,
            t::BPF_MAP_TYPE_LRU_HASH,
            t::BPF_MAP_TYPE_LPM_TRIE,
            t::BPF_MAP_TYPE_PERCPU_ARRAY,
            t::BPF_MAP_TYPE_PERCPU_HASH,
            t::BPF_MAP_TYPE_LRU_PERCPU_HASH,
        ];
        self.expect_kind(&map_types.map(|kind| kind as u32), "array or hash")?;
        let mut entries = Vec::new();
        for key in RawKeyIter::new(self) {
            let key = key?;
            if entries.len() == limit {
                return Ok((entries, true));
            }
            match self.lookup_bytes(&key, 0) {
                Ok(value) => entries.push((key, value)),
                // The element was removed meanwhile.
                Err(MapError::KeyNotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok((entries, false))
    }
}
