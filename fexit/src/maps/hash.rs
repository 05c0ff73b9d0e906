//! Hash maps.

use std::collections::HashSet;
use std::marker::PhantomData;

use aya_obj::generated::bpf_map_type::{BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_LRU_HASH};

use super::{Map, MapError, Pod};
use crate::sys;

/// A hash map from `K` to `V`: `BPF_MAP_TYPE_HASH` or `BPF_MAP_TYPE_LRU_HASH`. Minimum kernel 3.19 and 4.10.
#[derive(Clone, Debug)]
pub struct HashMap<K, V> {
    map: Map,
    _types: PhantomData<(K, V)>,
}

impl<K: Pod, V: Pod> HashMap<K, V> {
    /// The value of `key`.
    ///
    /// # Errors
    ///
    /// [`MapError::KeyNotFound`] when there is none.
    pub fn get(&self, key: &K) -> Result<V, MapError> {
        let mut value = vec![0; size_of::<V>()];
        sys::map_lookup(self.map.fd()?, sys::bytes_of(key), &mut value)
            .map_err(self.map.error("BPF_MAP_LOOKUP_ELEM"))?;
        sys::from_bytes(&value).ok_or_else(|| MapError::KeyNotFound {
            name: self.map.name().into(),
        })
    }

    /// Sets the value of `key`, whether or not it has one.
    ///
    /// # Errors
    ///
    /// [`MapError::SyscallError`] when the map is full (`E2BIG`).
    pub fn insert(&self, key: K, value: V) -> Result<(), MapError> {
        sys::map_update(
            self.map.fd()?,
            sys::bytes_of(&key),
            sys::bytes_of(&value),
            0,
        )
        .map_err(self.map.error("BPF_MAP_UPDATE_ELEM"))
    }

    /// Removes `key`.
    ///
    /// # Errors
    ///
    /// [`MapError::KeyNotFound`] when it is not there.
    pub fn remove(&self, key: &K) -> Result<(), MapError> {
        remove(&self.map, key)
    }

    /// All elements at about this moment: those that programs add or remove meanwhile may be there or not, none twice.
    ///
    /// # Errors
    ///
    /// [`MapError::SyscallError`] when the kernel fails to list the keys.
    pub fn iter(&self) -> Result<impl Iterator<Item = (K, V)> + use<K, V>, MapError> {
        let keys = keys::<K>(&self.map)?;
        let elements: Vec<_> = keys
            .into_iter()
            .filter_map(|key| Some((key, self.get(&key).ok()?)))
            .collect();
        Ok(elements.into_iter())
    }
}

pub(super) fn remove<K: Pod>(map: &Map, key: &K) -> Result<(), MapError> {
    sys::map_delete(map.fd()?, sys::bytes_of(key)).map_err(map.error("BPF_MAP_DELETE_ELEM"))
}

/// The keys of a hash map of any kind.
///
/// A key that is removed under the walk makes the kernel start over: then the walk ends at the first key seen twice.
pub(super) fn keys<K: Pod>(map: &Map) -> Result<Vec<K>, MapError> {
    let mut seen = HashSet::new();
    let mut keys = Vec::new();
    let mut key: Option<Vec<u8>> = None;
    let mut next = vec![0; size_of::<K>()];
    while sys::map_next_key(map.fd()?, key.as_deref(), &mut next)
        .map_err(map.error("BPF_MAP_GET_NEXT_KEY"))?
    {
        if !seen.insert(next.clone()) {
            break;
        }
        keys.extend(sys::from_bytes::<K>(&next));
        key = Some(next.clone());
    }
    Ok(keys)
}

impl<K: Pod, V: Pod> TryFrom<&Map> for HashMap<K, V> {
    type Error = MapError;

    /// Fails when the map is not a hash map or the sizes differ; creates it if need be.
    fn try_from(map: &Map) -> Result<Self, MapError> {
        let kinds = [BPF_MAP_TYPE_HASH as u32, BPF_MAP_TYPE_LRU_HASH as u32];
        map.expect(&kinds, "hash", size_of::<K>(), size_of::<V>())?;
        map.fd()?;
        Ok(Self {
            map: map.clone(),
            _types: PhantomData,
        })
    }
}
