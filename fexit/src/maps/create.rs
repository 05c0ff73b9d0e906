//! Creating a map from its definition.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use aya_obj::generated::{BPF_F_MMAPABLE, bpf_map_type};
use aya_obj::{EbpfSectionKind, Map};

use super::map_types;
use crate::capabilities;
use crate::error::MapError;
use crate::feature::Feature;
use crate::kernel_version::KernelVersion;
use crate::object::Object;
use crate::sys::{self, MapCreate, MapFd, cpus};

pub(super) fn create(name: &str, map: &Map, object: Option<&Object>) -> Result<MapFd, MapError> {
    let inner = map
        .inner()
        .map(|inner| create_one(&format!("{name}.inner"), &inner, object, None))
        .transpose()?;
    let fd = create_one(name, map, object, inner.as_ref().map(AsFd::as_fd))?;
    fill(name, map, &fd)?;
    Ok(fd)
}

fn create_one(
    name: &str,
    map: &Map,
    object: Option<&Object>,
    inner: Option<BorrowedFd<'_>>,
) -> Result<MapFd, MapError> {
    let (key_size, value_size) = sizes(map);
    let mut attr = MapCreate {
        map_type: map.map_type(),
        key_size,
        value_size,
        max_entries: max_entries(map),
        flags: map.map_flags(),
        extra: extra(name, map, object),
        name,
        inner,
        btf: None,
    };
    attr.btf = object.and_then(|object| types(name, map, object));
    if is_data(map) {
        // A mapped variable can be read and written in place while programs run. A kernel before 5.5 refuses the flag.
        attr.flags |= BPF_F_MMAPABLE;
        if let Some(fd) = create_with_types(&mut attr) {
            return Ok(fd);
        }
        match sys::with_memlock(|| sys::map_create(&attr)) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            other => return other.map_err(|error| diagnose(&attr, error)),
        }
        attr.flags = map.map_flags();
    } else if let Some(fd) = create_with_types(&mut attr) {
        return Ok(fd);
    }
    sys::with_memlock(|| sys::map_create(&attr)).map_err(|error| diagnose(&attr, error))
}

/// The BTF types of key and value. The value of a map of globals is a data section, and it has no key: the kernel finds
/// spin locks, kptrs and the like in it.
fn types<'a>(name: &str, map: &Map, object: &'a Object) -> Option<(BorrowedFd<'a>, u32, u32)> {
    let (key, value) = match map {
        Map::Btf(typed) => (typed.def.btf_key_type_id, typed.def.btf_value_type_id),
        Map::Legacy(_) if is_data(map) => (0, object.data_section(name)?),
        Map::Legacy(_) => return None,
    };
    (value != 0).then_some((object.btf_fd()?, key, value))
}

/// Creates a map with its types, if it has any. Some map types refuse them: then it is created without.
fn create_with_types(attr: &mut MapCreate<'_>) -> Option<MapFd> {
    attr.btf?;
    let fd = sys::with_memlock(|| sys::map_create(attr)).ok();
    attr.btf = None;
    fd
}

/// `map_extra`: what it means depends on the map type.
pub(super) fn extra(name: &str, map: &Map, object: Option<&Object>) -> u64 {
    let declared = object.and_then(|object| object.map_extra(name));
    declared.unwrap_or_else(|| map.map_extra())
}

/// Writes the initial values of globals into the map, and freezes constants.
fn fill(name: &str, map: &Map, fd: &MapFd) -> Result<(), MapError> {
    if !is_data(map) {
        return Ok(());
    }
    let error = |call| {
        move |io_error| MapError::SyscallError {
            name: name.to_owned(),
            call,
            io_error,
        }
    };
    if map.section_kind() != EbpfSectionKind::Bss || map.data().iter().any(|&byte| byte != 0) {
        sys::map_update(fd, &0u32.to_ne_bytes(), map.data(), 0)
            .map_err(error("BPF_MAP_UPDATE_ELEM"))?;
    }
    if map.section_kind() == EbpfSectionKind::Rodata {
        sys::map_freeze(fd.as_fd()).map_err(error("BPF_MAP_FREEZE"))?;
    }
    Ok(())
}

/// The sizes of key and value that the map is created with. An array of perf events need not declare them, nor an array of
/// programs with initial values the size of a value.
pub(super) fn sizes(map: &Map) -> (u32, u32) {
    if map.map_type() == bpf_map_type::BPF_MAP_TYPE_PERF_EVENT_ARRAY as u32 {
        return (4, 4);
    }
    if map.map_type() == bpf_map_type::BPF_MAP_TYPE_PROG_ARRAY as u32 && map.value_size() == 0 {
        return (map.key_size(), 4);
    }
    (map.key_size(), map.value_size())
}

pub(super) fn is_data(map: &Map) -> bool {
    use EbpfSectionKind::{Bss, Data, Rodata};
    matches!(map.section_kind(), Data | Rodata | Bss)
}

/// The number of elements in the object. The size of a ring buffer is rounded up to a power of two and to pages, which the
/// kernel requires, as libbpf does.
pub(super) fn declared_entries(map: &Map) -> u32 {
    const RINGS: [u32; 2] = [
        bpf_map_type::BPF_MAP_TYPE_RINGBUF as u32,
        bpf_map_type::BPF_MAP_TYPE_USER_RINGBUF as u32,
    ];
    match map.max_entries() {
        size if size > 0 && RINGS.contains(&map.map_type()) => ring_size(size, sys::page_size()),
        size => size,
    }
}

/// A size that is too large to be rounded up is left as it is: the kernel refuses it.
fn ring_size(size: u32, page: usize) -> u32 {
    let page = u32::try_from(page).unwrap_or(4096);
    size.max(page).checked_next_power_of_two().unwrap_or(size)
}

/// The number of entries that the map is created with. An array of perf events has one for each possible CPU, unless the
/// object declares a number.
pub(super) fn max_entries(map: &Map) -> u32 {
    let per_cpu = map.map_type() == bpf_map_type::BPF_MAP_TYPE_PERF_EVENT_ARRAY as u32;
    match declared_entries(map) {
        0 if per_cpu => {
            let cpus = cpus::possible_cpus().unwrap_or_default();
            cpus.last().map_or(1, |last| last + 1)
        }
        given => given,
    }
}

fn diagnose(attr: &MapCreate<'_>, io_error: io::Error) -> MapError {
    if io_error.raw_os_error() == Some(libc::EINVAL)
        && let Some(refusal) = map_types::feature(attr.map_type).and_then(Feature::missing)
    {
        return refusal.into();
    }
    if io_error.raw_os_error() == Some(libc::EINVAL)
        && let Some((kind, minimum)) = map_types::missing(attr.map_type)
    {
        return MapError::UnsupportedType {
            name: attr.name.to_owned(),
            kind,
            minimum,
            running: KernelVersion::current(),
        };
    }
    let hint = match io_error.raw_os_error() {
        Some(libc::EPERM) => format!("; {}", capabilities::missing(false)),
        Some(libc::EINVAL) => "; the sizes or flags are not what it takes".to_owned(),
        Some(libc::E2BIG | libc::ENOMEM) => "; it is too large: lower max_entries".to_owned(),
        _ => String::new(),
    };
    MapError::CreateError {
        name: attr.name.to_owned(),
        definition: format!(
            "{}, key {} bytes, value {} bytes, {} entries",
            map_types::name(attr.map_type),
            attr.key_size,
            attr.value_size,
            attr.max_entries
        ),
        hint,
        io_error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ring_sizes_are_powers_of_two_of_whole_pages() {
        for (size, page, rounded) in [
            (1, 4096, 4096),
            (1000, 4096, 4096),
            (4096, 4096, 4096),
            (12288, 4096, 16384),
            (4096, 65536, 65536),
            (1 << 31, 4096, 1 << 31),
            ((1 << 31) + 1, 4096, (1 << 31) + 1),
        ] {
            assert_eq!(ring_size(size, page), rounded, "{size} in pages of {page}");
        }
        let entries = |map_type: bpf_map_type, entries| {
            declared_entries(&Map::new_from_params(map_type as u32, 0, 0, entries, 0))
        };
        let size = sys::page_size() as u32;
        assert_eq!(entries(bpf_map_type::BPF_MAP_TYPE_RINGBUF, 1), size);
        assert_eq!(entries(bpf_map_type::BPF_MAP_TYPE_USER_RINGBUF, 1), size);
        assert_eq!(entries(bpf_map_type::BPF_MAP_TYPE_RINGBUF, 0), 0);
        assert_eq!(entries(bpf_map_type::BPF_MAP_TYPE_ARRAY, 1), 1);
    }
}
