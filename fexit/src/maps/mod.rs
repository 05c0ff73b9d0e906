//! The maps through which an fexit program reports.
//!
//! A map of an object is created when the first program that uses it is loaded, or by its first use from here. So an
//! object that declares a map which this kernel lacks still runs its other programs.
//!
//! [`Map`] is a cheap handle. [`Array`], [`HashMap`] and the others are typed views, made from a map, from a reference to
//! one to read it, or from a mutable one to read and write it:
//!
//! ```no_run
//! # let mut ebpf = fexit::Ebpf::load_file("prog.bpf.o")?;
//! use fexit::maps::HashMap;
//! let mut counts: HashMap<_, u32, u64> = ebpf.map_mut("counts").unwrap().try_into()?;
//! counts.insert(1, 0, 0)?;
//! for element in counts.iter() {
//!     let (pid, count) = element?;
//!     println!("{pid}: {count}");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod arena;
mod array;
pub(crate) mod create;
mod dump;
mod global;
mod hash;
mod import;
mod key_iter;
mod map_types;
mod per_cpu;
pub mod perf;
mod ring_buf;
#[cfg(test)]
mod tests;

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

pub use array::Array;
pub use dump::Entry;
pub use hash::HashMap;
pub use key_iter::MapKeys;
pub use per_cpu::{PerCpuArray, PerCpuHashMap, PerCpuValues};
pub use perf::PerfEventArray;
pub use ring_buf::{RingBuf, RingBufItem};

pub use crate::error::MapError;
pub use crate::sys::Pod;

use crate::object::Object;
use crate::sys::{self, MapFd};
use global::Data;
pub(crate) use map_types::missing_code;

/// A map of an object, or one that was created elsewhere. Clones refer to the same map.
#[derive(Clone)]
pub struct Map(Arc<Inner>);

/// Another name for [`Map`].
pub type MapData = Map;

struct Inner {
    name: String,
    definition: Arc<aya_obj::Map>,
    /// The object that it is created for; `None` if it was created elsewhere.
    object: Option<Arc<Object>>,
    /// The path where it is opened if it is pinned there, and else pinned.
    pin: Option<PathBuf>,
    fd: OnceLock<MapFd>,
    data: OnceLock<Data>,
    /// Where the variables of an arena begin.
    data_offset: OnceLock<usize>,
    /// The initial values of a map of maps, by index.
    maps: OnceLock<Vec<(u32, Map)>>,
}

impl Inner {
    /// A map; it exists already if there is a descriptor.
    fn new(
        name: &str,
        definition: Arc<aya_obj::Map>,
        object: Option<Arc<Object>>,
        fd: Option<MapFd>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            definition,
            object,
            pin: None,
            fd: fd.map_or_else(OnceLock::new, OnceLock::from),
            data: OnceLock::new(),
            data_offset: OnceLock::new(),
            maps: OnceLock::new(),
        }
    }
}

impl Map {
    /// A map of an object, which will be shared under a name in a BPF file system if there is one.
    pub(crate) fn of_object(
        name: &str,
        definition: Arc<aya_obj::Map>,
        object: Arc<Object>,
        pin: Option<PathBuf>,
    ) -> Self {
        Self(Arc::new(Inner {
            pin,
            ..Inner::new(name, definition, Some(object), None)
        }))
    }

    /// Its name in the object: that of the variable, or of the section for `.data`, `.bss` and `.rodata`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its type as the kernel calls it: `hash`, `ringbuf`, ...
    pub fn kind(&self) -> String {
        map_types::name(self.map_type())
    }

    /// Bytes of a key.
    pub fn key_size(&self) -> usize {
        self.0.definition.key_size() as usize
    }

    /// Bytes of a value; for a per-CPU map, of the value of one CPU.
    pub fn value_size(&self) -> usize {
        self.0.definition.value_size() as usize
    }

    /// The maximum number of elements; for a ring buffer its size in bytes.
    pub fn max_entries(&self) -> u32 {
        create::declared_entries(&self.0.definition)
    }

    /// Whether it is created.
    pub fn is_created(&self) -> bool {
        self.0.fd.get().is_some()
    }

    /// Its descriptor, to hand to another library; creates the map if needed.
    ///
    /// # Errors
    ///
    /// [`MapError::Unsupported`] when the kernel lacks the map type, else [`MapError::CreateError`].
    pub fn fd(&self) -> Result<BorrowedFd<'_>, MapError> {
        self.created().map(AsFd::as_fd)
    }

    fn created(&self) -> Result<&MapFd, MapError> {
        if let Some(fd) = self.0.fd.get() {
            return Ok(fd);
        }
        let fd = match &self.0.pin {
            Some(path) => self.pinned(path)?,
            None => {
                let fd = self.create()?;
                self.initialize(&fd)?;
                fd
            }
        };
        // Another thread may have created it first: use that map.
        Ok(self.0.fd.get_or_init(|| fd))
    }

    /// Puts its initial maps into a new map of maps, and maps a new arena.
    fn initialize(&self, fd: &MapFd) -> Result<(), MapError> {
        for (index, map) in self.0.maps.get().into_iter().flatten() {
            sys::map_update(fd, &index.to_ne_bytes(), &fd_value(map.fd()?), 0)
                .map_err(self.error("BPF_MAP_UPDATE_ELEM"))?;
        }
        if self.is_arena() {
            self.map_arena(fd)?;
        }
        Ok(())
    }

    /// Sets the maps that a map of maps is created with.
    pub(crate) fn set_initial_maps(&self, maps: Vec<(u32, Self)>) {
        let _ = self.0.maps.set(maps);
    }

    /// Puts a program into an array of programs.
    pub(crate) fn set_program(&self, index: u32, program: BorrowedFd<'_>) -> Result<(), MapError> {
        self.update(&index.to_ne_bytes(), &fd_value(program), 0)
    }

    fn create(&self) -> Result<MapFd, MapError> {
        create::create(&self.0.name, &self.0.definition, self.0.object.as_deref())
    }

    pub(crate) fn map_type(&self) -> u32 {
        self.0.definition.map_type()
    }

    /// The error of a call.
    fn error(&self, call: &'static str) -> impl FnOnce(std::io::Error) -> MapError + use<> {
        let name = self.0.name.clone();
        move |io_error| MapError::SyscallError {
            name,
            call,
            io_error,
        }
    }

    /// The error of a call about one element: only there `ENOENT` means that it does not exist.
    fn element_error(&self, call: &'static str) -> impl FnOnce(std::io::Error) -> MapError + use<> {
        let name = self.0.name.clone();
        move |io_error| match io_error.raw_os_error() {
            Some(libc::ENOENT) => MapError::KeyNotFound { name },
            _ => MapError::SyscallError {
                name,
                call,
                io_error,
            },
        }
    }

    fn lookup_bytes(&self, key: &[u8], flags: u64) -> Result<Vec<u8>, MapError> {
        sys::map_lookup(self.created()?, key, flags)
            .map_err(self.element_error("BPF_MAP_LOOKUP_ELEM"))
    }

    fn lookup<V: Pod>(&self, key: &[u8], flags: u64) -> Result<V, MapError> {
        let value = self.lookup_bytes(key, flags)?;
        sys::from_bytes(&value).ok_or_else(|| MapError::KeyNotFound {
            name: self.0.name.clone(),
        })
    }

    fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), MapError> {
        sys::map_update(self.created()?, key, value, flags)
            .map_err(self.element_error("BPF_MAP_UPDATE_ELEM"))
    }

    fn delete(&self, key: &[u8]) -> Result<(), MapError> {
        sys::map_delete(self.created()?, key).map_err(self.element_error("BPF_MAP_DELETE_ELEM"))
    }

    fn expect_kind(&self, map_types: &[u32], expected: &'static str) -> Result<(), MapError> {
        if map_types.contains(&self.map_type()) {
            return Ok(());
        }
        let (name, found) = (self.0.name.clone(), self.kind());
        Err(MapError::UnexpectedMapType {
            name,
            expected,
            found,
        })
    }

    /// Checks that a view of this type, key and value fits the map, and creates it if needed.
    fn expect(
        &self,
        map_types: &[u32],
        expected: &'static str,
        key: usize,
        value: usize,
    ) -> Result<(), MapError> {
        self.expect_kind(map_types, expected)?;
        for (what, expected, found) in [
            ("key", self.key_size(), key),
            ("value", self.value_size(), value),
        ] {
            if expected != found {
                return Err(MapError::SizeMismatch {
                    name: self.0.name.clone(),
                    what,
                    expected,
                    found,
                });
            }
        }
        self.fd().map(drop)
    }
}

/// The ways to make a typed view: from the map itself, or from a reference to read, or one to read and write.
macro_rules! views {
    (@one $map:ty, $view:ident $(, $type:ident)*) => {
        impl<'a $(, $type: Pod)*> TryFrom<$map> for $view<$map $(, $type)*> {
            type Error = MapError;

            /// Fails when the map is of another type or its keys or values of another size; creates it if needed.
            fn try_from(map: $map) -> Result<Self, MapError> {
                Self::new(map)
            }
        }
    };
    ($view:ident $(, $type:ident)*) => {
        $crate::maps::views!(@one Map, $view $(, $type)*);
        $crate::maps::views!(@one &'a Map, $view $(, $type)*);
        $crate::maps::views!(@one &'a mut Map, $view $(, $type)*);
    };
}
use views;

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map")
            .field("name", &self.0.name)
            .field("kind", &self.kind())
            .field("key_size", &self.key_size())
            .field("value_size", &self.value_size())
            .field("max_entries", &self.max_entries())
            .field("created", &self.is_created())
            .finish()
    }
}

/// A descriptor as the value of a map.
fn fd_value(fd: BorrowedFd<'_>) -> [u8; 4] {
    fd.as_raw_fd().to_ne_bytes()
}
