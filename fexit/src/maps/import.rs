//! Maps that were created elsewhere: taken over by descriptor, by id, or from a pin.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use aya_obj::generated::{
    BPF_F_MMAPABLE, BPF_F_RDONLY, BPF_F_RDONLY_PROG, BPF_F_WRONLY, bpf_map_info, bpf_map_type,
};
use aya_obj::maps::PinningType;

use super::create::{is_data, max_entries, sizes};
use super::{Inner, Map, MapError, map_types};
use crate::programs::pin;
use crate::sys::{self, IdKind, MapFd};

impl Map {
    /// The map of a descriptor: of another library, or received from another process.
    ///
    /// [`EbpfLoader::reuse_map`](crate::EbpfLoader::reuse_map) lets programs use it.
    ///
    /// # Minimum kernel version
    ///
    /// 4.13. Source: kernel commit 1e2709769086 ("bpf: Add BPF_OBJ_GET_INFO_BY_FD").
    ///
    /// # Errors
    ///
    /// [`MapError::SyscallError`] when the descriptor is not a map's.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, MapError> {
        let number = fd.as_raw_fd();
        let (fd, info) = import(fd).map_err(|io_error| MapError::SyscallError {
            name: format!("descriptor {number}"),
            call: "BPF_OBJ_GET_INFO_BY_FD",
            io_error,
        })?;
        let name = info.name.iter().map(|c| c.to_ne_bytes()[0]);
        let name: Vec<u8> = name.take_while(|&c| c != 0).collect();
        let name = String::from_utf8_lossy(&name).into_owned();
        let definition = aya_obj::parse_map_info(info, PinningType::None);
        Ok(Self(Arc::new(Inner::new(
            &name,
            Arc::new(definition),
            None,
            Some(fd),
        ))))
    }

    /// The map with this id, as `bpftool map` lists it.
    ///
    /// # Minimum kernel version
    ///
    /// 4.13. Source: kernel commit bd5f5f4ecb78 ("bpf: Add BPF_MAP_GET_FD_BY_ID").
    ///
    /// # Errors
    ///
    /// [`MapError::SyscallError`] when there is none, or without root.
    pub fn from_id(id: u32) -> Result<Self, MapError> {
        let fd = sys::fd_by_id(IdKind::Map, id).map_err(|io_error| MapError::SyscallError {
            name: format!("id {id}"),
            call: "BPF_MAP_GET_FD_BY_ID",
            io_error,
        })?;
        Self::from_fd(fd)
    }

    /// The map that is pinned at `path` in a BPF file system.
    ///
    /// # Minimum kernel version
    ///
    /// 4.13.
    ///
    /// # Errors
    ///
    /// [`MapError::Pin`] when nothing is pinned there, as [`Map::from_fd`] when it is no map.
    pub fn from_pin<P: AsRef<Path>>(path: P) -> Result<Self, MapError> {
        let path = path.as_ref();
        let failed = |io_error| MapError::Pin {
            name: String::new(),
            path: path.to_owned(),
            io_error,
        };
        Self::from_fd(pin::open(path).map_err(failed)?)
    }

    /// The same map: for programs that were written for aya.
    ///
    /// # Errors
    ///
    /// None.
    pub fn from_map_data(map: Self) -> Result<Self, MapError> {
        Ok(map)
    }

    /// Pins the map at `path`, a name that is free in a BPF file system: it stays until that is removed. Creates
    /// the map if needed.
    ///
    /// # Minimum kernel version
    ///
    /// 4.4. Source: kernel commit b2197755b263 ("bpf: add support for persistent maps/progs").
    ///
    /// # Errors
    ///
    /// [`MapError::Pin`] when the name is taken or not in a BPF file system, or why the map could not be created.
    pub fn pin<P: AsRef<Path>>(&self, path: P) -> Result<(), MapError> {
        let path = path.as_ref();
        pin::pin(self.fd()?, path).map_err(|error| self.pin_error(path, error))
    }

    fn pin_error(&self, path: &Path, io_error: io::Error) -> MapError {
        MapError::Pin {
            name: self.name().to_owned(),
            path: path.to_owned(),
            io_error,
        }
    }

    /// The map that is pinned at `path`; if there is none, a new one that is pinned there.
    pub(super) fn pinned(&self, path: &Path) -> Result<MapFd, MapError> {
        let open = || pin::open(path);
        let there = match open() {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                let new = self.create()?;
                match pin::pin(new.as_fd(), path) {
                    Ok(()) => {
                        self.initialize(&new)?;
                        return Ok(new);
                    }
                    // Another process pinned its map first: use that.
                    Err(error) if error.raw_os_error() == Some(libc::EEXIST) => open(),
                    Err(error) => Err(error),
                }
            }
            other => other,
        };
        let there = there.map_err(|error| self.pin_error(path, error))?;
        self.accept(there, &path.display().to_string())
    }

    /// The map of an object, replaced by an existing one, and pinned if the object's map would be.
    pub(crate) fn replaced_by(self, other: &Self) -> Result<Self, MapError> {
        let failed = |call| self.error(call);
        let fd = other.fd()?.try_clone_to_owned().map_err(failed("dup"))?;
        let fd = self.accept(fd, "the map that was given for it")?;
        if let Some(path) = &self.0.pin {
            pin_same(fd.as_fd(), path).map_err(|error| self.pin_error(path, error))?;
        }
        let (name, definition) = (&self.0.name, self.0.definition.clone());
        let inner = Inner::new(name, definition, self.0.object.clone(), Some(fd));
        Ok(Self(Arc::new(inner)))
    }

    /// Checks that a map has the definition that the object gives.
    fn accept(&self, fd: OwnedFd, place: &str) -> Result<MapFd, MapError> {
        let (fd, info) = import(fd).map_err(self.error("BPF_OBJ_GET_INFO_BY_FD"))?;
        let found = Definition::of_kernel(&info);
        let expected = Definition::of_object(&self.0.definition);
        if expected.is_met_by(found, is_data(&self.0.definition)) {
            return Ok(fd);
        }
        Err(MapError::DefinitionMismatch {
            name: self.name().to_owned(),
            place: place.to_owned(),
            expected: expected.to_string(),
            found: found.to_string(),
        })
    }
}

/// Pins a map at `path`, unless it is pinned there already.
fn pin_same(fd: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    match pin::pin(fd, path) {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
            let there = pin::open(path)?;
            let (there, own) = (sys::map_info(there.as_fd())?, sys::map_info(fd)?);
            if there.id == own.id {
                return Ok(());
            }
            Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "another map than the one that was given is pinned there",
            ))
        }
        other => other,
    }
}

/// What must be equal for one map to replace another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Definition {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    extra: u64,
}

impl Definition {
    fn of_object(map: &aya_obj::Map) -> Self {
        let (key_size, value_size) = sizes(map);
        Self {
            map_type: map.map_type(),
            key_size,
            value_size,
            max_entries: max_entries(map),
            flags: map.map_flags(),
            extra: map.map_extra(),
        }
    }

    fn of_kernel(info: &bpf_map_info) -> Self {
        Self {
            map_type: info.type_,
            key_size: info.key_size,
            value_size: info.value_size,
            max_entries: info.max_entries,
            flags: info.map_flags,
            extra: info.map_extra,
        }
    }

    /// Whether `found` can replace a map with this definition. `is_data` says that it holds variables: then
    /// `BPF_F_MMAPABLE` may differ.
    fn is_met_by(self, found: Self, is_data: bool) -> bool {
        // Flags about a descriptor are not a property of the map: the kernel keeps them with the descriptor.
        let mut ignored = BPF_F_RDONLY | BPF_F_WRONLY;
        if is_data {
            ignored |= BPF_F_MMAPABLE;
        }
        // The kernel sets this flag for these types.
        let devices = [
            bpf_map_type::BPF_MAP_TYPE_DEVMAP as u32,
            bpf_map_type::BPF_MAP_TYPE_DEVMAP_HASH as u32,
        ];
        if devices.contains(&self.map_type) {
            ignored |= BPF_F_RDONLY_PROG;
        }
        let without = |definition: Self| Self {
            flags: definition.flags & !ignored,
            ..definition
        };
        without(self) == without(found)
    }
}

impl fmt::Display for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, key {} bytes, value {} bytes, {} entries, flags {:#x}",
            map_types::name(self.map_type),
            self.key_size,
            self.value_size,
            self.max_entries,
            self.flags
        )?;
        if self.extra != 0 {
            write!(f, ", map_extra {}", self.extra)?;
        }
        Ok(())
    }
}

/// Takes over the descriptor of a map, with the kernel's information on the map.
fn import(fd: OwnedFd) -> io::Result<(MapFd, bpf_map_info)> {
    // BPF_OBJ_GET_INFO_BY_FD also works for a program or link, whose information looks like a map's.
    let text = sys::read_kernel_file(&format!("/proc/self/fdinfo/{}", fd.as_raw_fd()));
    if text.is_ok_and(|text| !text.lines().any(|line| line.starts_with("map_type:"))) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a map's",
        ));
    }
    MapFd::import(fd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn map_replaces_another_only_with_its_flags_and_extra() {
        const NO_PREALLOC: u32 = 1;
        let of = |map_type: bpf_map_type, flags, extra| Definition {
            map_type: map_type as u32,
            key_size: 4,
            value_size: 8,
            max_entries: 16,
            flags,
            extra,
        };
        let hash = |flags| of(bpf_map_type::BPF_MAP_TYPE_HASH, flags, 0);
        assert!(hash(NO_PREALLOC).is_met_by(hash(NO_PREALLOC), false));
        assert!(!hash(NO_PREALLOC).is_met_by(hash(0), false));
        assert!(!hash(0).is_met_by(hash(NO_PREALLOC), false));
        assert!(hash(BPF_F_RDONLY).is_met_by(hash(0), false));
        let bloom = |extra| of(bpf_map_type::BPF_MAP_TYPE_BLOOM_FILTER, 0, extra);
        assert!(bloom(3).is_met_by(bloom(3), false) && !bloom(3).is_met_by(bloom(5), false));
        assert!(bloom(5).to_string().contains("flags 0x0, map_extra 5"));
        // The loader sets BPF_F_MMAPABLE for variables.
        let array = |flags| of(bpf_map_type::BPF_MAP_TYPE_ARRAY, flags, 0);
        assert!(array(0).is_met_by(array(BPF_F_MMAPABLE), true));
        assert!(array(BPF_F_MMAPABLE).is_met_by(array(0), true));
        assert!(!array(BPF_F_MMAPABLE).is_met_by(array(0), false));
        let devices = |flags| of(bpf_map_type::BPF_MAP_TYPE_DEVMAP, flags, 0);
        assert!(devices(0).is_met_by(devices(BPF_F_RDONLY_PROG), false));
        assert!(!array(0).is_met_by(array(BPF_F_RDONLY_PROG), true));
    }
}
