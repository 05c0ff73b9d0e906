//! Maps: creating them, and their elements.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use aya_obj::generated::bpf_cmd;

use super::{Attr, BPF_OBJ_NAME_LEN, addr, addr_mut, attr, bpf, bpf_fd, object_name, raw};

attr!(MapCreateAttr {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    map_name: [u8; BPF_OBJ_NAME_LEN],
    map_ifindex: u32,
    btf_fd: u32,
    btf_key_type_id: u32,
    btf_value_type_id: u32,
    btf_vmlinux_value_type_id: u32,
    map_extra: u64,
});

attr!(MapElemAttr {
    map_fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
});

/// What `BPF_MAP_CREATE` takes.
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

pub(crate) fn map_create(map: &MapCreate<'_>) -> io::Result<OwnedFd> {
    let (btf_fd, btf_key_type_id, btf_value_type_id) = map
        .btf
        .map_or((0, 0, 0), |(fd, key, value)| (raw(fd), key, value));
    bpf_fd(
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
    )
}

/// Reads the value of `key` into `value`, whose length must be what the kernel writes: the caller knows the map.
pub(crate) fn map_lookup(
    map: BorrowedFd<'_>,
    key: &[u8],
    value: &mut [u8],
    flags: u64,
) -> io::Result<()> {
    let value = addr_mut(value);
    elem(bpf_cmd::BPF_MAP_LOOKUP_ELEM, map, key, value, flags)
}

pub(crate) fn map_update(
    map: BorrowedFd<'_>,
    key: &[u8],
    value: &[u8],
    flags: u64,
) -> io::Result<()> {
    elem(bpf_cmd::BPF_MAP_UPDATE_ELEM, map, key, addr(value), flags)
}

pub(crate) fn map_delete(map: BorrowedFd<'_>, key: &[u8]) -> io::Result<()> {
    elem(bpf_cmd::BPF_MAP_DELETE_ELEM, map, key, 0, 0)
}

/// The key after `key` (the first one for `None`) into `next`; `false` at the end.
pub(crate) fn map_next_key(
    map: BorrowedFd<'_>,
    key: Option<&[u8]>,
    next: &mut [u8],
) -> io::Result<bool> {
    let key = key.unwrap_or_default();
    match elem(bpf_cmd::BPF_MAP_GET_NEXT_KEY, map, key, addr_mut(next), 0) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
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

fn elem(cmd: bpf_cmd, map: BorrowedFd<'_>, key: &[u8], value: u64, flags: u64) -> io::Result<()> {
    let mut attr = MapElemAttr {
        map_fd: raw(map),
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

    #[test]
    fn attributes_have_the_size_that_the_kernel_knows() {
        // Ends of the arms of `union bpf_attr` in include/uapi/linux/bpf.h.
        assert_eq!(size_of::<MapElemAttr>(), 32);
        assert_eq!(size_of::<MapCreateAttr>(), 72);
    }
}
