//! The elements of a map as bytes, for callers that do not know their types.

use aya_obj::generated::bpf_map_type as t;

use super::create::possible_cpus;
use super::key_iter::RawKeyIter;
use super::{Map, MapError};

/// A key and its value; of a per-CPU map, the values one behind the other, each on a multiple of eight bytes.
pub type Entry = (Vec<u8>, Vec<u8>);

impl Map {
    /// The first `limit` elements as bytes, and whether there are more. Only maps whose elements can be looked up by
    /// keys have them: arrays, hash maps and tries, also with a value for each CPU.
    ///
    /// # Errors
    ///
    /// [`MapError::UnexpectedMapType`] for any other type, or what the kernel answered.
    pub fn entries(&self, limit: usize) -> Result<(Vec<Entry>, bool), MapError> {
        let per_cpu = [
            t::BPF_MAP_TYPE_PERCPU_ARRAY,
            t::BPF_MAP_TYPE_PERCPU_HASH,
            t::BPF_MAP_TYPE_LRU_PERCPU_HASH,
        ]
        .map(|kind| kind as u32);
        let plain = [
            t::BPF_MAP_TYPE_ARRAY,
            t::BPF_MAP_TYPE_HASH,
            t::BPF_MAP_TYPE_LRU_HASH,
            t::BPF_MAP_TYPE_LPM_TRIE,
        ]
        .map(|kind| kind as u32);
        self.expect_kind(&[&plain[..], &per_cpu[..]].concat(), "array or hash")?;
        let size = if per_cpu.contains(&self.map_type()) {
            let cpus = possible_cpus().map_err(self.error("reading the list of CPUs"))?;
            self.value_size().next_multiple_of(8) * cpus as usize
        } else {
            self.value_size()
        };
        self.read(limit, size)
    }

    fn read(&self, limit: usize, size: usize) -> Result<(Vec<Entry>, bool), MapError> {
        let mut entries = Vec::new();
        for key in RawKeyIter::new(self) {
            let key = key?;
            if entries.len() == limit {
                return Ok((entries, true));
            }
            let mut value = vec![0; size];
            match self.lookup_bytes(&key, &mut value, 0) {
                Ok(()) => entries.push((key, value)),
                // It was removed meanwhile.
                Err(MapError::KeyNotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok((entries, false))
    }
}
