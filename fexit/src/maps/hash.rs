//! Hash maps.

use std::borrow::{Borrow, BorrowMut};
use std::marker::PhantomData;

use aya_obj::generated::bpf_map_type::{BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_LRU_HASH};

use super::{Map, MapError, MapKeys, Pod, views};
use crate::sys;

/// A hash map from `K` to `V`: `BPF_MAP_TYPE_HASH` or `BPF_MAP_TYPE_LRU_HASH`.
///
/// # Minimum kernel version
///
/// 3.19, and 4.10 with eviction of the least recently used elements. Sources: kernel commits 0f8e4bd8a1fc ("bpf: add
/// hashtable type of eBPF maps") and 29ba732acbee ("bpf: Add BPF_MAP_TYPE_LRU_HASH").
#[derive(Clone, Debug)]
pub struct HashMap<T, K, V> {
    map: T,
    _types: PhantomData<(K, V)>,
}

impl<T: Borrow<Map>, K: Pod, V: Pod> HashMap<T, K, V> {
    fn new(map: T) -> Result<Self, MapError> {
        let map_types = [BPF_MAP_TYPE_HASH as u32, BPF_MAP_TYPE_LRU_HASH as u32];
        let (key, value) = (size_of::<K>(), size_of::<V>());
        map.borrow().expect(&map_types, "hash", key, value)?;
        let _types = PhantomData;
        Ok(Self { map, _types })
    }

    /// The value of `key`. `flags` are those of `bpf(2)`, usually 0.
    ///
    /// # Errors
    ///
    /// [`MapError::KeyNotFound`] when there is none.
    pub fn get(&self, key: &K, flags: u64) -> Result<V, MapError> {
        self.map.borrow().lookup(sys::bytes_of(key), flags)
    }

    /// The keys at about this moment: see [`MapKeys`].
    pub fn keys(&self) -> MapKeys<'_, K> {
        MapKeys::new(self.map.borrow())
    }

    /// All elements, each once. Elements that programs add or remove meanwhile may be included or not.
    pub fn iter(&self) -> impl Iterator<Item = Result<(K, V), MapError>> + '_ {
        self.keys().with_values(|key| self.get(key, 0))
    }
}

impl<T: BorrowMut<Map>, K: Pod, V: Pod> HashMap<T, K, V> {
    /// Sets the value of `key`, whether or not it has one, or as `flags` of `bpf(2)` say.
    ///
    /// # Errors
    ///
    /// [`MapError::SyscallError`] when the map is full (`E2BIG`).
    pub fn insert(
        &mut self,
        key: impl Borrow<K>,
        value: impl Borrow<V>,
        flags: u64,
    ) -> Result<(), MapError> {
        let (key, value) = (sys::bytes_of(key.borrow()), sys::bytes_of(value.borrow()));
        self.map.borrow().update(key, value, flags)
    }

    /// Removes `key`.
    ///
    /// # Errors
    ///
    /// [`MapError::KeyNotFound`] when it is not there.
    pub fn remove(&mut self, key: &K) -> Result<(), MapError> {
        self.map.borrow().delete(sys::bytes_of(key))
    }
}

views!(HashMap, K, V);
