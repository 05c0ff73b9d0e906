//! Arrays and hash maps with a value for each CPU.

use std::marker::PhantomData;

use aya_obj::generated::bpf_map_type::{
    BPF_MAP_TYPE_LRU_PERCPU_HASH, BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_PERCPU_HASH,
};

use super::create::possible_cpus;
use super::{Map, MapError, Pod, hash};
use crate::sys;

/// The values of one element, by CPU. The kernel keeps each on eight bytes.
fn get<V: Pod>(map: &Map, key: &[u8]) -> Result<Vec<V>, MapError> {
    let cpus = cpus(map)?;
    let slot = size_of::<V>().next_multiple_of(8);
    let mut values = vec![0; slot * cpus];
    sys::map_lookup(map.fd()?, key, &mut values).map_err(map.error("BPF_MAP_LOOKUP_ELEM"))?;
    Ok(values
        .chunks(slot)
        .filter_map(|value| sys::from_bytes(&value[..size_of::<V>()]))
        .collect())
}

fn set<V: Pod>(map: &Map, key: &[u8], values: &[V]) -> Result<(), MapError> {
    let cpus = cpus(map)?;
    if values.len() != cpus {
        let (name, what) = (
            map.name().to_owned(),
            "list of values, one for each possible CPU,",
        );
        return Err(MapError::SizeMismatch {
            name,
            what,
            expected: cpus,
            found: values.len(),
        });
    }
    let slot = size_of::<V>().next_multiple_of(8);
    let mut bytes = vec![0; slot * cpus];
    for (to, from) in bytes.chunks_mut(slot).zip(values) {
        to[..size_of::<V>()].copy_from_slice(sys::bytes_of(from));
    }
    sys::map_update(map.fd()?, key, &bytes, 0).map_err(map.error("BPF_MAP_UPDATE_ELEM"))
}

fn cpus(map: &Map) -> Result<usize, MapError> {
    Ok(possible_cpus().map_err(map.error("reading the list of CPUs"))? as usize)
}

/// An array with a `V` for each possible CPU, `BPF_MAP_TYPE_PERCPU_ARRAY`. Minimum kernel 4.6.
#[derive(Clone, Debug)]
pub struct PerCpuArray<V> {
    map: Map,
    _value: PhantomData<V>,
}

impl<V: Pod> PerCpuArray<V> {
    /// The values at `index`, one for each possible CPU.
    ///
    /// # Errors
    ///
    /// [`MapError::KeyNotFound`] behind the end.
    pub fn get(&self, index: u32) -> Result<Vec<V>, MapError> {
        get(&self.map, &index.to_ne_bytes())
    }

    /// Sets the values at `index`, one for each possible CPU.
    ///
    /// # Errors
    ///
    /// [`MapError::SizeMismatch`] when their number is another; [`MapError::SyscallError`] behind the end (`E2BIG`).
    pub fn set(&self, index: u32, values: &[V]) -> Result<(), MapError> {
        set(&self.map, &index.to_ne_bytes(), values)
    }

    /// All elements in order.
    pub fn iter(&self) -> impl Iterator<Item = Result<Vec<V>, MapError>> + '_ {
        (0..self.map.max_entries()).map(|index| self.get(index))
    }
}

impl<V: Pod> TryFrom<&Map> for PerCpuArray<V> {
    type Error = MapError;

    /// Fails when the map is of another type or size; creates it if need be.
    fn try_from(map: &Map) -> Result<Self, MapError> {
        map.expect(
            &[BPF_MAP_TYPE_PERCPU_ARRAY as u32],
            "percpu_array",
            4,
            size_of::<V>(),
        )?;
        map.fd()?;
        Ok(Self {
            map: map.clone(),
            _value: PhantomData,
        })
    }
}

/// A hash map from `K` to a `V` for each possible CPU: `BPF_MAP_TYPE_PERCPU_HASH` or `BPF_MAP_TYPE_LRU_PERCPU_HASH`.
/// Minimum kernel 4.6 and 4.10.
#[derive(Clone, Debug)]
pub struct PerCpuHashMap<K, V> {
    map: Map,
    _types: PhantomData<(K, V)>,
}

impl<K: Pod, V: Pod> PerCpuHashMap<K, V> {
    /// The values of `key`, one for each possible CPU.
    ///
    /// # Errors
    ///
    /// [`MapError::KeyNotFound`] when there are none.
    pub fn get(&self, key: &K) -> Result<Vec<V>, MapError> {
        get(&self.map, sys::bytes_of(key))
    }

    /// Sets the values of `key`, one for each possible CPU.
    ///
    /// # Errors
    ///
    /// [`MapError::SizeMismatch`] when their number is another; [`MapError::SyscallError`] when the map is full
    /// (`E2BIG`).
    pub fn insert(&self, key: K, values: &[V]) -> Result<(), MapError> {
        set(&self.map, sys::bytes_of(&key), values)
    }

    /// Removes `key`.
    ///
    /// # Errors
    ///
    /// [`MapError::KeyNotFound`] when it is not there.
    pub fn remove(&self, key: &K) -> Result<(), MapError> {
        hash::remove(&self.map, key)
    }

    /// All elements at about this moment, as [`HashMap::iter`](super::HashMap::iter).
    ///
    /// # Errors
    ///
    /// [`MapError::SyscallError`] when the kernel fails to list the keys.
    pub fn iter(&self) -> Result<impl Iterator<Item = (K, Vec<V>)> + use<K, V>, MapError> {
        let keys = hash::keys::<K>(&self.map)?;
        let elements: Vec<_> = keys
            .into_iter()
            .filter_map(|key| Some((key, self.get(&key).ok()?)))
            .collect();
        Ok(elements.into_iter())
    }
}

impl<K: Pod, V: Pod> TryFrom<&Map> for PerCpuHashMap<K, V> {
    type Error = MapError;

    /// Fails when the map is of another type or size; creates it if need be.
    fn try_from(map: &Map) -> Result<Self, MapError> {
        let kinds = [
            BPF_MAP_TYPE_PERCPU_HASH as u32,
            BPF_MAP_TYPE_LRU_PERCPU_HASH as u32,
        ];
        map.expect(&kinds, "percpu_hash", size_of::<K>(), size_of::<V>())?;
        map.fd()?;
        Ok(Self {
            map: map.clone(),
            _types: PhantomData,
        })
    }
}
