//! Arrays.

use std::borrow::{Borrow, BorrowMut};
use std::marker::PhantomData;

use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_ARRAY;

use super::{Map, MapError, Pod, views};
use crate::sys;

/// An array of `V`, `BPF_MAP_TYPE_ARRAY`.
///
/// # Minimum kernel version
///
/// 3.19. Source: kernel commit 28fbcfa08d8e ("bpf: add array type of eBPF maps").
#[derive(Clone, Debug)]
pub struct Array<T, V> {
    map: T,
    _value: PhantomData<V>,
}

impl<T: Borrow<Map>, V: Pod> Array<T, V> {
    fn new(map: T) -> Result<Self, MapError> {
        let kind = [BPF_MAP_TYPE_ARRAY as u32];
        map.borrow().expect(&kind, "array", 4, size_of::<V>())?;
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

    /// The element at `index`. `flags` are those of `bpf(2)`, usually 0.
    ///
    /// # Errors
    ///
    /// [`MapError::KeyNotFound`] after the last index.
    pub fn get(&self, index: &u32, flags: u64) -> Result<V, MapError> {
        self.map.borrow().lookup(&index.to_ne_bytes(), flags)
    }

    /// All elements in order.
    pub fn iter(&self) -> impl Iterator<Item = Result<V, MapError>> + '_ {
        (0..self.len()).map(|index| self.get(&index, 0))
    }
}

impl<T: BorrowMut<Map>, V: Pod> Array<T, V> {
    /// Sets the element at `index`. `flags` are those of `bpf(2)`, usually 0.
    ///
    /// # Errors
    ///
    /// [`MapError::SyscallError`] after the last index (`E2BIG`), or when the map is read-only for user space.
    pub fn set(&mut self, index: u32, value: impl Borrow<V>, flags: u64) -> Result<(), MapError> {
        let value = sys::bytes_of(value.borrow());
        self.map.borrow().update(&index.to_ne_bytes(), value, flags)
    }
}

views!(Array, V);
