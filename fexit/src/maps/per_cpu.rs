//! Arrays and hash maps with a value for each CPU.

use std::borrow::{Borrow, BorrowMut};
use std::io;
use std::marker::PhantomData;
use std::ops::Deref;

use aya_obj::generated::bpf_map_type::{
    BPF_MAP_TYPE_LRU_PERCPU_HASH, BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_PERCPU_HASH,
};

use super::{Map, MapError, MapKeys, Pod, views};
use crate::sys::{self, cpus};

/// The values of one element, one for each possible CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerCpuValues<V>(Box<[V]>);

impl<V: Pod> TryFrom<Vec<V>> for PerCpuValues<V> {
    type Error = io::Error;

    /// Fails unless there is one value for each possible CPU: see [`nr_cpus`](crate::util::nr_cpus).
    fn try_from(values: Vec<V>) -> Result<Self, io::Error> {
        let cpus = cpus::possible_cpus()?.len();
        if values.len() == cpus {
            return Ok(Self(values.into()));
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{} values for {cpus} possible CPUs", values.len()),
        ))
    }
}

impl<V> Deref for PerCpuValues<V> {
    type Target = Box<[V]>;

    fn deref(&self) -> &Box<[V]> {
        &self.0
    }
}

/// The kernel aligns the value of each CPU to eight bytes.
fn slot<V>() -> usize {
    size_of::<V>().next_multiple_of(8)
}

fn get<V: Pod>(map: &Map, key: &[u8], flags: u64) -> Result<PerCpuValues<V>, MapError> {
    let values = map.lookup_bytes(key, flags)?;
    let values = values.chunks(slot::<V>());
    let values = values.filter_map(|value| sys::from_bytes(&value[..size_of::<V>()]));
    Ok(PerCpuValues(values.collect()))
}

fn set<V: Pod>(
    map: &Map,
    key: &[u8],
    values: &PerCpuValues<V>,
    flags: u64,
) -> Result<(), MapError> {
    let mut bytes = vec![0; slot::<V>() * values.len()];
    for (to, from) in bytes.chunks_mut(slot::<V>()).zip(values.iter()) {
        to[..size_of::<V>()].copy_from_slice(sys::bytes_of(from));
    }
    map.update(key, &bytes, flags)
}

/// An array with a `V` for each possible CPU, `BPF_MAP_TYPE_PERCPU_ARRAY`.
///
/// # Minimum kernel version
///
/// 4.6. Source: kernel commit a10423b87a7e ("bpf: introduce BPF_MAP_TYPE_PERCPU_ARRAY map").
#[derive(Clone, Debug)]
pub struct PerCpuArray<T, V> {
    map: T,
    _value: PhantomData<V>,
}

impl<T: Borrow<Map>, V: Pod> PerCpuArray<T, V> {
    fn new(map: T) -> Result<Self, MapError> {
        let kind = [BPF_MAP_TYPE_PERCPU_ARRAY as u32];
        let size = size_of::<V>();
        map.borrow().expect(&kind, "percpu_array", 4, size)?;
        let _value = PhantomData;
        Ok(Self { map, _value })
    }

    /// The number of elements.
    pub fn len(&self) -> u32 {
        self.map.borrow().max_entries()
    }

    /// Always false: the kernel creates no empty array.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values at `index`. `flags` are those of `bpf(2)`, usually 0.
    ///
    /// # Errors
    ///
    /// [`MapError::KeyNotFound`] after the last index.
    pub fn get(&self, index: &u32, flags: u64) -> Result<PerCpuValues<V>, MapError> {
        get(self.map.borrow(), &index.to_ne_bytes(), flags)
    }

    /// All elements in order.
    pub fn iter(&self) -> impl Iterator<Item = Result<PerCpuValues<V>, MapError>> + '_ {
        (0..self.len()).map(|index| self.get(&index, 0))
    }
}

impl<T: BorrowMut<Map>, V: Pod> PerCpuArray<T, V> {
    /// Sets the values at `index`. `flags` are those of `bpf(2)`, usually 0.
    ///
    /// # Errors
    ///
    /// [`MapError::SyscallError`] after the last index (`E2BIG`).
    #[allow(clippy::needless_pass_by_value)] // as aya has it
    pub fn set(&mut self, index: u32, values: PerCpuValues<V>, flags: u64) -> Result<(), MapError> {
        set(self.map.borrow(), &index.to_ne_bytes(), &values, flags)
    }
}

views!(PerCpuArray, V);

/// A hash map from `K` to a `V` for each possible CPU: `BPF_MAP_TYPE_PERCPU_HASH` or `BPF_MAP_TYPE_LRU_PERCPU_HASH`.
///
/// # Minimum kernel version
///
/// 4.6, and 4.10 with eviction of the least recently used elements. Sources: kernel commits 824bd0ce6c7c ("bpf:
/// introduce BPF_MAP_TYPE_PERCPU_HASH map") and 8f8449384ec3 ("bpf: Add BPF_MAP_TYPE_LRU_PERCPU_HASH").
#[derive(Clone, Debug)]
pub struct PerCpuHashMap<T, K, V> {
    map: T,
    _types: PhantomData<(K, V)>,
}

impl<T: Borrow<Map>, K: Pod, V: Pod> PerCpuHashMap<T, K, V> {
    fn new(map: T) -> Result<Self, MapError> {
        let map_types = [
            BPF_MAP_TYPE_PERCPU_HASH as u32,
            BPF_MAP_TYPE_LRU_PERCPU_HASH as u32,
        ];
        let (key, value) = (size_of::<K>(), size_of::<V>());
        map.borrow().expect(&map_types, "percpu_hash", key, value)?;
        let _types = PhantomData;
        Ok(Self { map, _types })
    }

    /// The values of `key`. `flags` are those of `bpf(2)`, usually 0.
    ///
    /// # Errors
    ///
    /// [`MapError::KeyNotFound`] when there are none.
    pub fn get(&self, key: &K, flags: u64) -> Result<PerCpuValues<V>, MapError> {
        get(self.map.borrow(), sys::bytes_of(key), flags)
    }

    /// The keys at about this moment: see [`MapKeys`].
    pub fn keys(&self) -> MapKeys<'_, K> {
        MapKeys::new(self.map.borrow())
    }

    /// All elements at about this moment, as [`HashMap::iter`](super::HashMap::iter).
    pub fn iter(&self) -> impl Iterator<Item = Result<(K, PerCpuValues<V>), MapError>> + '_ {
        self.keys().with_values(|key| self.get(key, 0))
    }
}

impl<T: BorrowMut<Map>, K: Pod, V: Pod> PerCpuHashMap<T, K, V> {
    /// Sets the values of `key`, whether or not it has any, or as `flags` of `bpf(2)` say.
    ///
    /// # Errors
    ///
    /// [`MapError::SyscallError`] when the map is full (`E2BIG`).
    #[allow(clippy::needless_pass_by_value)] // as aya has it
    pub fn insert(
        &mut self,
        key: impl Borrow<K>,
        values: PerCpuValues<V>,
        flags: u64,
    ) -> Result<(), MapError> {
        set(
            self.map.borrow(),
            sys::bytes_of(key.borrow()),
            &values,
            flags,
        )
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

views!(PerCpuHashMap, K, V);
