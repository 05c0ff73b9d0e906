//! Maps: creation, and access to elements.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use aya_obj::generated::{bpf_cmd, bpf_map_info, bpf_map_type};

use super::attr::{MapCreateAttr, MapElemAttr};
use super::object::map_info;
use super::{addr, addr_mut, bpf, bpf_fd, cpus, object_name, raw};

/// The attributes of `BPF_MAP_CREATE`.
#[derive(Clone, Copy, Default)]
pub(crate) struct MapCreate<'a> {
    pub(crate) map_type: u32,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    pub(crate) flags: u32,
    pub(crate) extra: u64,
    pub(crate) name: &'a str,
    pub(crate) inner: Option<BorrowedFd<'a>>,
    /// The object's BTF with the types of key and value in it.
    pub(crate) btf: Option<(BorrowedFd<'a>, u32, u32)>,
}

/// A map in the kernel, with the sizes of its keys and values. The kernel reads and writes that many bytes, and does
/// not know the length of a buffer.
#[derive(Debug)]
pub(crate) struct MapFd {
    fd: OwnedFd,
    map_type: u32,
    key_size: usize,
    value_size: usize,
}

impl MapFd {
    /// Takes over the descriptor of a map that was created elsewhere.
    pub(crate) fn import(fd: OwnedFd) -> io::Result<(Self, bpf_map_info)> {
        let info = map_info(fd.as_fd())?;
        let (map_type, key_size, value_size) = (info.type_, info.key_size, info.value_size);
        Ok((Self::new(fd, map_type, key_size, value_size), info))
    }

    fn new(fd: OwnedFd, map_type: u32, key_size: u32, value_size: u32) -> Self {
        Self {
            fd,
            map_type,
            key_size: key_size as usize,
            value_size: value_size as usize,
        }
    }

    /// The bytes that the kernel reads or writes for an element; for a per-CPU map a slot for each possible CPU.
    fn value_len(&self) -> io::Result<usize> {
        use bpf_map_type::*;
        let per_cpu = [
            BPF_MAP_TYPE_PERCPU_ARRAY,
            BPF_MAP_TYPE_PERCPU_HASH,
            BPF_MAP_TYPE_LRU_PERCPU_HASH,
            BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE_DEPRECATED,
        ];
        if !per_cpu.iter().any(|&kind| kind as u32 == self.map_type) {
            return Ok(self.value_size);
        }
        let cpus = cpus::possible_cpus()
            .map_err(|error| io::Error::other(format!("cannot read the list of CPUs: {error}")))?;
        Ok(self.value_size.next_multiple_of(8) * cpus.len())
    }

    fn check_key(&self, key: &[u8]) -> io::Result<()> {
        check_len("key", key, self.key_size)
    }
}

impl AsFd for MapFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn check_len(what: &str, bytes: &[u8], expected: usize) -> io::Result<()> {
    if bytes.len() == expected {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!(
            "a {what} of the map has {expected} bytes, not {}",
            bytes.len()
        ),
    ))
}

pub(crate) fn map_create(map: &MapCreate<'_>) -> io::Result<MapFd> {
    let (btf_fd, btf_key_type_id, btf_value_type_id) = map
        .btf
        .map_or((0, 0, 0), |(fd, key, value)| (raw(fd), key, value));
    let fd = bpf_fd(
        bpf_cmd::BPF_MAP_CREATE,
        &mut MapCreateAttr {
            map_type: map.map_type,
            key_size: map.key_size,
            value_size: map.value_size,
            max_entries: map.max_entries,
            map_flags: map.flags,
            inner_map_fd: map.inner.map_or(0, raw),
            map_name: object_name(map.name),
            btf_fd,
            btf_key_type_id,
            btf_value_type_id,
            map_extra: map.extra,
            ..MapCreateAttr::default()
        },
    )?;
    Ok(MapFd::new(fd, map.map_type, map.key_size, map.value_size))
}

/// The value of `key`; of a per-CPU map the values of all possible CPUs, each on a multiple of eight bytes.
pub(crate) fn map_lookup(map: &MapFd, key: &[u8], flags: u64) -> io::Result<Vec<u8>> {
    map.check_key(key)?;
    let mut value = vec![0; map.value_len()?];
    let to = addr_mut(&mut value);
    elem(bpf_cmd::BPF_MAP_LOOKUP_ELEM, map, key, to, flags)?;
    Ok(value)
}

pub(crate) fn map_update(map: &MapFd, key: &[u8], value: &[u8], flags: u64) -> io::Result<()> {
    map.check_key(key)?;
    check_len("value", value, map.value_len()?)?;
    elem(bpf_cmd::BPF_MAP_UPDATE_ELEM, map, key, addr(value), flags)
}

pub(crate) fn map_delete(map: &MapFd, key: &[u8]) -> io::Result<()> {
    map.check_key(key)?;
    elem(bpf_cmd::BPF_MAP_DELETE_ELEM, map, key, 0, 0)
}

/// The key after `key`, the first one for `None`; `None` at the end.
pub(crate) fn map_next_key(map: &MapFd, key: Option<&[u8]>) -> io::Result<Option<Vec<u8>>> {
    key.map_or(Ok(()), |key| map.check_key(key))?;
    let mut next = vec![0; map.key_size];
    let (key, to) = (key.unwrap_or_default(), addr_mut(&mut next));
    match elem(bpf_cmd::BPF_MAP_GET_NEXT_KEY, map, key, to, 0) {
        Ok(()) => Ok(Some(next)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) fn map_freeze(map: BorrowedFd<'_>) -> io::Result<()> {
    bpf(
        bpf_cmd::BPF_MAP_FREEZE,
        &mut MapElemAttr {
            map_fd: raw(map),
            ..MapElemAttr::default()
        },
    )?;
    Ok(())
}

/// The callers make sure that the buffers have the sizes that the kernel reads and writes.
fn elem(cmd: bpf_cmd, map: &MapFd, key: &[u8], value: u64, flags: u64) -> io::Result<()> {
    let mut attr = MapElemAttr {
        map_fd: raw(map.as_fd()),
        pad: 0,
        key: addr(key),
        value,
        flags,
    };
    bpf(cmd, &mut attr)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fake;

    #[test]
    fn buffers_of_another_size_than_the_maps_never_reach_the_kernel() {
        fake::kernel(|_| None);
        let create = |map_type: bpf_map_type| {
            let map = MapCreate {
                map_type: map_type as u32,
                key_size: 4,
                value_size: 12,
                max_entries: 1,
                ..MapCreate::default()
            };
            map_create(&map).unwrap()
        };
        let map = create(bpf_map_type::BPF_MAP_TYPE_HASH);
        let kernel = fake::kernel(|_| None);
        for key in [&[0; 3][..], &[0; 5], &[]] {
            assert!(map_lookup(&map, key, 0).is_err());
            assert!(map_update(&map, key, &[0; 12], 0).is_err());
            assert!(map_delete(&map, key).is_err());
            assert!(map_next_key(&map, Some(key)).is_err());
        }
        assert!(map_update(&map, &[0; 4], &[0; 11], 0).is_err());
        assert_eq!(kernel.commands().len(), 0);
        assert_eq!(map_lookup(&map, &[0; 4], 0).unwrap().len(), 12);
        assert_eq!(map_next_key(&map, None).unwrap().unwrap().len(), 4);
        map_update(&map, &[0; 4], &[0; 12], 0).unwrap();
        assert_eq!(kernel.commands().len(), 3);
    }

    #[test]
    fn per_cpu_value_has_a_slot_for_each_possible_cpu() {
        let kernel = fake::kernel(|_| None);
        let map = MapCreate {
            map_type: bpf_map_type::BPF_MAP_TYPE_PERCPU_ARRAY as u32,
            key_size: 4,
            value_size: 12,
            max_entries: 1,
            ..MapCreate::default()
        };
        let map = map_create(&map).unwrap();
        kernel.file("/sys/devices/system/cpu/possible", "0-4\n");
        assert_eq!(map_lookup(&map, &[0; 4], 0).unwrap().len(), 16 * 5);
    }
}
