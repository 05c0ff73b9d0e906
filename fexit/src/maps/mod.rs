//! The maps through which an fexit program reports.
//!
//! A map of an object is created when the first program that uses it is loaded, or when it is first touched from here,
//! whichever comes first. So an object that declares a map which this kernel lacks still runs its other programs.
//!
//! [`Map`] is a cheap handle. [`Array`], [`HashMap`] and the others are typed views, made from it:
//!
//! ```no_run
//! # let ebpf = fexit::Ebpf::load_file("prog.bpf.o")?;
//! use fexit::maps::HashMap;
//! let counts: HashMap<u32, u64> = ebpf.map("counts").unwrap().try_into()?;
//! for (pid, count) in counts.iter()? {
//!     println!("{pid}: {count}");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod array;
mod create;
mod entries;
mod global;
mod hash;
mod kinds;
mod per_cpu;
mod perf_event_array;
mod ring_buf;

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};

pub use array::Array;
pub use entries::Entry;
pub use hash::HashMap;
pub use per_cpu::{PerCpuArray, PerCpuHashMap};
pub use perf_event_array::{PerfEventArray, PerfRecord};
pub use ring_buf::{Record, RingBuf};

pub use crate::error::MapError;
pub use crate::sys::Pod;

use crate::object::Object;
use crate::sys::memory::SharedMemory;

/// One map of an object.
#[derive(Clone)]
pub struct Map(Arc<Inner>);

struct Inner {
    name: String,
    definition: aya_obj::Map,
    object: Arc<Object>,
    fd: OnceLock<OwnedFd>,
    memory: OnceLock<SharedMemory>,
}

impl Map {
    pub(crate) fn new(name: &str, definition: aya_obj::Map, object: Arc<Object>) -> Self {
        let name = name.to_owned();
        let (fd, memory) = (OnceLock::new(), OnceLock::new());
        Self(Arc::new(Inner {
            name,
            definition,
            object,
            fd,
            memory,
        }))
    }

    /// Its name in the object: that of the variable, or of the section for `.data`, `.bss` and `.rodata`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its type as the kernel calls it: `hash`, `ringbuf`, ...
    pub fn kind(&self) -> String {
        kinds::name(self.map_type())
    }

    /// Bytes of a key.
    pub fn key_size(&self) -> usize {
        self.0.definition.key_size() as usize
    }

    /// Bytes of a value; for a per-CPU map, of the value of one CPU.
    pub fn value_size(&self) -> usize {
        self.0.definition.value_size() as usize
    }

    /// How many elements it holds at most; for a ring buffer its size in bytes.
    pub fn max_entries(&self) -> u32 {
        self.0.definition.max_entries()
    }

    /// Whether it is in the kernel yet.
    pub fn is_created(&self) -> bool {
        self.0.fd.get().is_some()
    }

    /// Its descriptor, to hand to another library; creates the map if need be.
    ///
    /// # Errors
    ///
    /// [`MapError::Unsupported`] when the kernel lacks the map type, else [`MapError::CreateError`].
    pub fn fd(&self) -> Result<BorrowedFd<'_>, MapError> {
        if let Some(fd) = self.0.fd.get() {
            return Ok(fd.as_fd());
        }
        let fd = create::create(&self.0.name, &self.0.definition, &self.0.object)?;
        // Another thread may have been faster: its map is the one that counts.
        Ok(self.0.fd.get_or_init(|| fd).as_fd())
    }

    pub(crate) fn map_type(&self) -> u32 {
        self.0.definition.map_type()
    }

    fn error(&self, call: &'static str) -> impl FnOnce(std::io::Error) -> MapError + use<> {
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

    fn expect_kind(&self, kinds: &[u32], expected: &'static str) -> Result<(), MapError> {
        if kinds.contains(&self.map_type()) {
            return Ok(());
        }
        let (name, found) = (self.0.name.clone(), self.kind());
        Err(MapError::UnexpectedMapType {
            name,
            expected,
            found,
        })
    }

    /// Checks that a view of this type, key and value fits the map.
    fn expect(
        &self,
        kinds: &[u32],
        expected: &'static str,
        key: usize,
        value: usize,
    ) -> Result<(), MapError> {
        self.expect_kind(kinds, expected)?;
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
        Ok(())
    }
}

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
