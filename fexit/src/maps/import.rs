//! Maps that were created elsewhere: taken over by descriptor, by id, or from a pin.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use aya_obj::generated::bpf_map_info;
use aya_obj::maps::PinningType;

use super::create::max_entries;
use super::{Inner, Map, MapError, map_types};
use crate::programs::pin;
use crate::sys::{self, IdKind};

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
        let info = info(fd.as_fd()).map_err(|io_error| MapError::SyscallError {
            name: format!("descriptor {}", fd.as_raw_fd()),
            call: "BPF_OBJ_GET_INFO_BY_FD",
            io_error,
        })?;
        let name = info.name.iter().map(|&c| c.cast_unsigned());
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

    /// Pins the map at `path`, a name that is free in a BPF file system: it stays until that is removed. Creates it if
    /// need be.
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
    pub(super) fn pinned(&self, path: &Path) -> Result<OwnedFd, MapError> {
        let open = || pin::open(path);
        let there = match open() {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                let new = self.create()?;
                match pin::pin(new.as_fd(), path) {
                    Ok(()) => return Ok(new),
                    // Another process was faster: its map is the one that counts.
                    Err(error) if error.raw_os_error() == Some(libc::EEXIST) => open(),
                    Err(error) => Err(error),
                }
            }
            other => other,
        };
        let there = there.map_err(|error| self.pin_error(path, error))?;
        self.accept(there.as_fd(), &path.display().to_string())?;
        Ok(there)
    }

    /// The map of an object, replaced by one that exists already.
    pub(crate) fn replaced_by(self, other: &Self) -> Result<Self, MapError> {
        let failed = |call| self.error(call);
        let fd = other.fd()?.try_clone_to_owned().map_err(failed("dup"))?;
        self.accept(fd.as_fd(), "the map that was given for it")?;
        let (name, definition) = (&self.0.name, self.0.definition.clone());
        let inner = Inner::new(name, definition, self.0.object.clone(), Some(fd));
        Ok(Self(Arc::new(inner)))
    }

    /// Checks that a map has the definition that the object gives.
    fn accept(&self, fd: BorrowedFd<'_>, place: &str) -> Result<(), MapError> {
        let info = info(fd).map_err(self.error("BPF_OBJ_GET_INFO_BY_FD"))?;
        let wanted = [
            self.map_type(),
            self.0.definition.key_size(),
            self.0.definition.value_size(),
            max_entries(&self.0.definition),
        ];
        let found = [info.type_, info.key_size, info.value_size, info.max_entries];
        let says = |[map_type, key, value, entries]: [u32; 4]| {
            let kind = map_types::name(map_type);
            format!("{kind}, key {key} bytes, value {value} bytes, {entries} entries")
        };
        if wanted == found {
            return Ok(());
        }
        Err(MapError::DefinitionMismatch {
            name: self.name().to_owned(),
            place: place.to_owned(),
            wanted: says(wanted),
            found: says(found),
        })
    }
}

/// What the kernel knows of a map.
fn info(fd: BorrowedFd<'_>) -> io::Result<bpf_map_info> {
    // Asked for its information, a program or link gives its own, which looks much like a map's.
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()));
    if text.is_ok_and(|text| !text.lines().any(|line| line.starts_with("map_type:"))) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a map's",
        ));
    }
    sys::map_info(fd)
}
