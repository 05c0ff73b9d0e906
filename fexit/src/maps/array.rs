//! Arrays.

use std::marker::PhantomData;

use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_ARRAY;

use super::{Map, MapError, Pod};
use crate::sys;

/// An array of `V`, `BPF_MAP_TYPE_ARRAY`. Minimum kernel 3.19.
#[derive(Clone, Debug)]
pub struct Array<V> {
    map: Map,
    _value: PhantomData<V>,
}

impl<V: Pod> Array<V> {
    /// How many elements it has.
    pub fn len(&self) -> u32 {
        self.map.max_entries()
    }

    /// Whether it has none; the kernel makes no such array.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element at `index`.
    ///
    /// # Errors
    ///
    /// [`MapError::KeyNotFound`] behind the end.
    pub fn get(&self, index: u32) -> Result<V, MapError> {
        let mut value = vec![0; size_of::<V>()];
        sys::map_lookup(self.map.fd()?, &index.to_ne_bytes(), &mut value)
            .map_err(self.map.error("BPF_MAP_LOOKUP_ELEM"))?;
        sys::from_bytes(&value).ok_or_else(|| MapError::KeyNotFound {
            name: self.map.name().into(),
        })
    }

    /// Sets the element at `index`.
    ///
    /// # Errors
    ///
    /// [`MapError::SyscallError`] behind the end (`E2BIG`), or when the map is read-only for user space.
    pub fn set(&self, index: u32, value: V) -> Result<(), MapError> {
        sys::map_update(
            self.map.fd()?,
            &index.to_ne_bytes(),
            sys::bytes_of(&value),
            0,
        )
        .map_err(self.map.error("BPF_MAP_UPDATE_ELEM"))
    }

    /// All elements in order.
    pub fn iter(&self) -> impl Iterator<Item = Result<V, MapError>> + '_ {
        (0..self.len()).map(|index| self.get(index))
    }
}

impl<V: Pod> TryFrom<&Map> for Array<V> {
    type Error = MapError;

    /// Fails when the map is not an array or its values are not of the size of `V`; creates it if need be.
    fn try_from(map: &Map) -> Result<Self, MapError> {
        map.expect(&[BPF_MAP_TYPE_ARRAY as u32], "array", 4, size_of::<V>())?;
        map.fd()?;
        Ok(Self {
            map: map.clone(),
            _value: PhantomData,
        })
    }
}
