//! Reading an object file with options.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use aya_obj::maps::PinningType;

use crate::btf::{AmbiguityPolicy, Btf};
use crate::ebpf::Ebpf;
use crate::elf::map_values::Value;
use crate::error::EbpfError;
use crate::maps::{Map, MapError, Pod};
use crate::object::{Globals, Object};
use crate::programs::log_level::VerifierLogLevel;
use crate::programs::{Kconfig, Shared};
use crate::sys;

/// Another name for [`EbpfLoader`].
pub type BpfLoader = EbpfLoader;

/// The default folder for maps with `LIBBPF_PIN_BY_NAME`, as in libbpf.
const PIN_DIRECTORY: &str = "/sys/fs/bpf";

/// The value of a global variable: of any type without padding, or a slice.
#[derive(Clone, Copy)]
pub struct GlobalData<'a>(&'a [u8]);

impl<'a, T: Pod> From<&'a T> for GlobalData<'a> {
    fn from(value: &'a T) -> Self {
        Self(sys::bytes_of(value))
    }
}

impl<'a, T: Pod> From<&'a [T]> for GlobalData<'a> {
    fn from(values: &'a [T]) -> Self {
        Self(sys::bytes_of_slice(values))
    }
}

impl fmt::Debug for GlobalData<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Reads an object file with options.
///
/// ```no_run
/// use fexit::EbpfLoader;
/// let ebpf = EbpfLoader::new().set_global("MIN_US", &1000u64, true).load_file("slow_opens.bpf.o")?;
/// # Ok::<(), fexit::EbpfError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct EbpfLoader {
    btf: Option<Btf>,
    globals: Globals,
    verifier_log_level: VerifierLogLevel,
    max_entries: HashMap<String, u32>,
    value_sizes: HashMap<String, u32>,
    pin_paths: HashMap<String, PathBuf>,
    pin_directory: Option<PathBuf>,
    maps: HashMap<String, Map>,
    kconfig: Option<String>,
    ambiguity: AmbiguityPolicy,
}

impl EbpfLoader {
    /// A loader with the default options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the types that the object's CO-RE relocations are resolved against, instead of those that a program is
    /// loaded with: BTF from a file ([`Btf::parse_file`]), for a kernel without BTF of its own.
    pub fn btf(&mut self, btf: Option<&Btf>) -> &mut Self {
        self.btf = btf.cloned();
        self
    }

    /// Sets a global variable before load, constants (`const volatile`) included.
    ///
    /// With `must_exist`, [`EbpfLoader::load`] fails if the object has no such variable.
    ///
    /// # Minimum kernel version
    ///
    /// 5.2. Source: kernel commit d8eca5bbb2be ("bpf: implement lookup-free direct value access for maps").
    pub fn set_global<'a, T: Into<GlobalData<'a>>>(
        &mut self,
        name: &str,
        value: T,
        must_exist: bool,
    ) -> &mut Self {
        let value = value.into().0.to_vec();
        self.globals.insert(name.to_owned(), (value, must_exist));
        self
    }

    /// Another name for [`EbpfLoader::set_global`].
    pub fn override_global<'a, T: Into<GlobalData<'a>>>(
        &mut self,
        name: &str,
        value: T,
        must_exist: bool,
    ) -> &mut Self {
        self.set_global(name, value, must_exist)
    }

    /// Sets values of the kernel's configuration for the object's `__kconfig` variables, as lines of a `.config`:
    /// `CONFIG_HZ=250`. They override those of the running kernel, which are read from `/proc/config.gz` or
    /// `/boot/config-RELEASE`, if there is one, when a program that reads a value is loaded.
    ///
    /// A variable may be `bool`, `enum libbpf_tristate`, `char`, an integer, or an array of `char`. One that the
    /// configuration does not set is zero if it is declared `__weak`; else no program that reads it can be loaded.
    /// `LINUX_KERNEL_VERSION`, `LINUX_HAS_BPF_COOKIE` and `LINUX_HAS_SYSCALL_WRAPPER` are the running kernel's.
    ///
    /// # Minimum kernel version
    ///
    /// 5.5. The values lie in a constant map. Source: kernel commit 166750bc1dd2 ("libbpf: Support libbpf-provided
    /// extern variables").
    pub fn kconfig(&mut self, config: &str) -> &mut Self {
        self.kconfig = Some(config.to_owned());
        self
    }

    /// Overrides the maximum number of elements of a map; for a ring buffer its size in bytes.
    pub fn map_max_entries(&mut self, name: &str, max_entries: u32) -> &mut Self {
        self.max_entries.insert(name.to_owned(), max_entries);
        self
    }

    /// Another name for [`EbpfLoader::map_max_entries`].
    pub fn set_max_entries(&mut self, name: &str, max_entries: u32) -> &mut Self {
        self.map_max_entries(name, max_entries)
    }

    /// Overrides the size of a map's values, in bytes: of a map that leaves it to its loader, as one of stack traces may.
    pub fn map_value_size(&mut self, name: &str, value_size: u32) -> &mut Self {
        self.value_sizes.insert(name.to_owned(), value_size);
        self
    }

    /// Sets the folder, in a BPF file system, where maps are found or pinned that the object declares with
    /// `__uint(pinning, LIBBPF_PIN_BY_NAME)`; else it is `/sys/fs/bpf`.
    pub fn default_map_pin_directory<P: AsRef<Path>>(&mut self, path: P) -> &mut Self {
        self.pin_directory = Some(path.as_ref().to_owned());
        self
    }

    /// Shares a map under a name in a BPF file system: the one that is pinned there is used, or a new one pinned.
    pub fn map_pin_path<P: AsRef<Path>>(&mut self, name: &str, path: P) -> &mut Self {
        let path = path.as_ref().to_owned();
        self.pin_paths.insert(name.to_owned(), path);
        self
    }

    /// Lets the programs use a map that exists already in the place of the object's own: one of another object, or of
    /// another library by [`Map::from_fd`]. It must be of the same type, sizes and flags. If the object's own would be
    /// pinned, it is pinned there by [`EbpfLoader::load`], which fails if another map is.
    pub fn reuse_map(&mut self, name: &str, map: &Map) -> &mut Self {
        self.maps.insert(name.to_owned(), map.clone());
        self
    }

    /// Asks the verifier for its log even when it accepts a program.
    ///
    /// A refused program gets its log in any case. A log longer than 16 MiB is truncated.
    pub fn verifier_log_level(&mut self, level: VerifierLogLevel) -> &mut Self {
        // The kernel refuses other bits.
        self.verifier_log_level = level & VerifierLogLevel::all();
        self
    }

    /// Sets how programs find out whether several functions of the kernel have their target's name; if not set,
    /// [`AmbiguityPolicy::CheckSymbols`].
    pub fn ambiguity_policy(&mut self, policy: AmbiguityPolicy) -> &mut Self {
        self.ambiguity = policy;
        self
    }

    /// As [`Ebpf::load_file`].
    ///
    /// # Errors
    ///
    /// As [`Ebpf::load_file`], and those of [`EbpfLoader::load`].
    pub fn load_file<P: AsRef<Path>>(&self, path: P) -> Result<Ebpf, EbpfError> {
        let path = path.as_ref();
        let data = fs::read(path).map_err(|error| EbpfError::FileError {
            path: path.to_owned(),
            error,
        })?;
        self.load(&data)
    }

    /// As [`Ebpf::load`].
    ///
    /// # Errors
    ///
    /// As [`Ebpf::load`]; [`EbpfError::Global`] when a variable that was set does not exist or has another size;
    /// [`EbpfError::Map`] when the object has no map of a name that was given here, or the map
    /// given for it has another definition.
    pub fn load(&self, data: &[u8]) -> Result<Ebpf, EbpfError> {
        let object = Arc::new(Object::parse(data, &self.globals)?);
        self.check_names(&object)?;
        let names = object.map_names.iter();
        let maps = names.map(|name| self.map(name, &object));
        let maps: Vec<Map> = maps.collect::<Result<_, _>>()?;
        set_initial_maps(&object, &maps);
        let shared = Arc::new(Shared {
            object,
            maps,
            btf: self.btf.clone(),
            log_level: self.verifier_log_level.bits(),
            kconfig: Kconfig::new(self.kconfig.clone()),
            ambiguity: self.ambiguity,
            running: OnceLock::new(),
        });
        Ok(Ebpf::new(&shared))
    }

    fn check_names(&self, object: &Object) -> Result<(), MapError> {
        let named = self.max_entries.keys().chain(self.pin_paths.keys());
        let mut named = named.chain(self.value_sizes.keys()).chain(self.maps.keys());
        match named.find(|name| !object.map_names.contains(name)) {
            None => Ok(()),
            Some(name) => Err(MapError::UnknownMap {
                name: name.clone(),
                known: if object.map_names.is_empty() {
                    "none".to_owned()
                } else {
                    object.map_names.join(", ")
                },
            }),
        }
    }

    fn map(&self, name: &str, object: &Arc<Object>) -> Result<Map, MapError> {
        let definition = object.maps.get(name);
        let mut definition = definition.cloned().ok_or_else(|| MapError::UnknownMap {
            name: name.to_owned(),
            known: object.map_names.join(", "),
        })?;
        if let Some(&entries) = self.max_entries.get(name) {
            Arc::make_mut(&mut definition).set_max_entries(entries);
        }
        if let Some(&size) = self.value_sizes.get(name) {
            Arc::make_mut(&mut definition).set_value_size(size);
        }
        let pin = match (self.pin_paths.get(name), definition.pinning()) {
            (Some(path), _) => Some(path.clone()),
            (None, PinningType::ByName) => {
                let directory = self.pin_directory.as_deref();
                Some(directory.unwrap_or(Path::new(PIN_DIRECTORY)).join(name))
            }
            (None, PinningType::None) => None,
        };
        let map = Map::of_object(name, definition, Arc::clone(object), pin);
        match self.maps.get(name) {
            Some(other) => map.replaced_by(other),
            None => Ok(map),
        }
    }
}

/// Tells each map of maps which maps it is created with.
fn set_initial_maps(object: &Object, maps: &[Map]) {
    let named = |name: &str| maps.iter().find(|map| map.name() == name);
    for outer in maps {
        let values = object.extra.map_values.iter();
        let inner = values.filter_map(|initial| match &initial.value {
            Value::Map(inner) if initial.map == outer.name() => {
                Some((initial.index, named(inner)?.clone()))
            }
            _ => None,
        });
        outer.set_initial_maps(inner.collect());
    }
}

impl Ebpf {
    /// Reads an object file from memory. The kernel is not asked for anything yet.
    ///
    /// With any bytes it returns at worst an error, and allocates in proportion to the file and to
    /// its `.bss` (256 MiB at most). The parser that it is built on may panic on a hostile file; that is caught, but the
    /// panic hook runs, and a program built with `panic = "abort"` should read only objects that it trusts.
    ///
    /// # Errors
    ///
    /// [`EbpfError::Malformed`] or [`EbpfError::ParseError`] when the bytes are not an eBPF object of this byte order.
    pub fn load(data: &[u8]) -> Result<Self, EbpfError> {
        EbpfLoader::new().load(data)
    }

    /// Reads an object file, as `clang -O2 -g -target bpf -c` writes it.
    ///
    /// # Errors
    ///
    /// [`EbpfError::FileError`] when it cannot be read, else as [`Ebpf::load`].
    pub fn load_file<P: AsRef<Path>>(path: P) -> Result<Self, EbpfError> {
        EbpfLoader::new().load_file(path)
    }
}
