//! The keys of a hash map, while programs change it.

use std::collections::HashSet;
use std::marker::PhantomData;

use super::{Map, MapError, Pod};
use crate::sys;

/// The most BPF_MAP_GET_NEXT_KEY calls for each element that the map can hold.
const PATIENCE: u64 = 8;

/// The keys of a hash map of any kind, each once.
///
/// The kernel returns the key after a given one, and starts over if that one was removed meanwhile. Then the iterator
/// continues after the last key that still exists. The last item is [`MapError::IterationLimit`] if the map changes too
/// fast.
#[derive(Debug)]
pub struct MapKeys<'a, K> {
    keys: RawKeyIter<'a>,
    _key: PhantomData<K>,
}

impl<'a, K: Pod> MapKeys<'a, K> {
    pub(super) fn new(map: &'a Map) -> Self {
        Self {
            keys: RawKeyIter::new(map),
            _key: PhantomData,
        }
    }

    /// Each key with its value, without keys that were removed meanwhile.
    pub(super) fn with_values<V>(
        self,
        get: impl Fn(&K) -> Result<V, MapError>,
    ) -> impl Iterator<Item = Result<(K, V), MapError>> {
        self.filter_map(move |key| match key {
            Err(error) => Some(Err(error)),
            Ok(key) => match get(&key) {
                Err(MapError::KeyNotFound { .. }) => None,
                value => Some(value.map(|value| (key, value))),
            },
        })
    }
}

impl<K: Pod> Iterator for MapKeys<'_, K> {
    type Item = Result<K, MapError>;

    /// An error is the last item.
    fn next(&mut self) -> Option<Self::Item> {
        match self.keys.next()? {
            Ok(key) => sys::from_bytes(&key).map(Ok),
            Err(error) => Some(Err(error)),
        }
    }
}

/// The keys as bytes.
#[derive(Debug)]
pub(super) struct RawKeyIter<'a> {
    map: &'a Map,
    /// The keys that were returned.
    path: Vec<Vec<u8>>,
    seen: HashSet<Vec<u8>>,
    /// The number of calls that are left.
    left: u64,
    over: bool,
}

impl<'a> RawKeyIter<'a> {
    pub(super) fn new(map: &'a Map) -> Self {
        Self {
            map,
            path: Vec::new(),
            seen: HashSet::new(),
            left: u64::from(map.max_entries())
                .saturating_mul(PATIENCE)
                .max(64),
            over: false,
        }
    }

    /// The key after `key`; the first one for `None`.
    fn behind(&mut self, key: Option<&[u8]>) -> Result<Option<Vec<u8>>, MapError> {
        let map = self.map;
        let left = self.left.checked_sub(1);
        self.left = left.ok_or_else(|| MapError::IterationLimit {
            name: map.name().to_owned(),
        })?;
        sys::map_next_key(map.created()?, key).map_err(map.error("BPF_MAP_GET_NEXT_KEY"))
    }

    fn step(&mut self) -> Result<Option<Vec<u8>>, MapError> {
        loop {
            let last = self.path.pop();
            let Some(next) = self.behind(last.as_deref())? else {
                return Ok(None);
            };
            let new = self.seen.insert(next.clone());
            // The kernel started over: the last key was removed.
            if !new && last.is_some() && self.behind(None)?.as_ref() == Some(&next) {
                continue;
            }
            self.path.extend(last);
            self.path.push(next.clone());
            if new {
                return Ok(Some(next));
            }
        }
    }
}

impl Iterator for RawKeyIter<'_> {
    type Item = Result<Vec<u8>, MapError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let step = self.step().transpose();
        self.over = !matches!(step, Some(Ok(_)));
        step
    }
}
