//! One object file: its programs, maps and global variables.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::btf::raw::{Kind, Raw};
use crate::error::EbpfError;
use crate::maps::{Map, MapError, Pod};
use crate::object::{Globals, Object};
use crate::programs::{Program, Shared};
use crate::sys;

/// Another name for [`Ebpf`].
pub type Bpf = Ebpf;

/// Another name for [`EbpfLoader`].
pub type BpfLoader = EbpfLoader;

/// An object file with its programs and maps.
///
/// Dropping it detaches and unloads all programs; links that were taken live on.
#[derive(Debug)]
pub struct Ebpf {
    pub(crate) shared: Arc<Shared>,
    programs: BTreeMap<String, Program>,
}

impl Ebpf {
    /// Reads an object file from memory. The kernel is not asked for anything yet.
    ///
    /// Whatever the bytes are, this comes back with an error at worst, and allocates in proportion to the file and to
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

    /// The program whose C function has this name.
    pub fn program(&self, name: &str) -> Option<&Program> {
        self.programs.get(name)
    }

    /// The program whose C function has this name, to load and attach.
    pub fn program_mut(&mut self, name: &str) -> Option<&mut Program> {
        self.programs.get_mut(name)
    }

    /// All programs by name.
    pub fn programs(&self) -> impl Iterator<Item = (&str, &Program)> {
        self.programs
            .iter()
            .map(|(name, program)| (name.as_str(), program))
    }

    /// All programs by name, to load and attach.
    pub fn programs_mut(&mut self) -> impl Iterator<Item = (&str, &mut Program)> {
        self.programs
            .iter_mut()
            .map(|(name, program)| (name.as_str(), program))
    }

    /// The map of this name. Converting it to a typed view creates it if need be.
    pub fn map(&self, name: &str) -> Option<&Map> {
        self.shared.maps.iter().find(|map| map.name() == name)
    }

    /// All maps by name, those of global variables (`.bss`, `.data`, `.rodata`) among them.
    pub fn maps(&self) -> impl Iterator<Item = (&str, &Map)> {
        self.shared.maps.iter().map(|map| (map.name(), map))
    }

    /// Reads a global variable of the object, as running programs left it.
    ///
    /// # Errors
    ///
    /// [`MapError::UnknownGlobal`], [`MapError::SizeMismatch`] when `T` is of another size, or why its map could not be
    /// created.
    pub fn global<T: Pod>(&self, name: &str) -> Result<T, MapError> {
        let (map, global) = self.find_global(name)?;
        map.read_global(name, global)
    }

    /// Sets a global variable of `.data` or `.bss`, while programs run.
    ///
    /// # Errors
    ///
    /// As [`Ebpf::global`], and [`MapError::ReadOnly`] for a constant: those are set by [`EbpfLoader::set_global`].
    pub fn set_global<T: Pod>(&self, name: &str, value: T) -> Result<(), MapError> {
        let (map, global) = self.find_global(name)?;
        map.write_global(name, global, value)
    }

    /// Names of the global variables.
    pub fn globals(&self) -> impl Iterator<Item = &str> {
        self.shared.object.extra.globals.keys().map(String::as_str)
    }

    /// The global variables, with what is known of each.
    pub fn global_variables(&self) -> impl Iterator<Item = GlobalVariable<'_>> {
        let extra = &self.shared.object.extra;
        let integers = integers(&extra.btf);
        extra.globals.iter().map(move |(name, global)| {
            let signed = integers.get(name.as_bytes());
            GlobalVariable {
                name,
                section: &global.section,
                size: global.size,
                integer: signed
                    .filter(|(size, _)| *size == global.size)
                    .map(|(_, signed)| *signed),
            }
        })
    }

    /// Reads a global variable as bytes, whatever its type.
    ///
    /// # Errors
    ///
    /// As [`Ebpf::global`].
    pub fn global_bytes(&self, name: &str) -> Result<Vec<u8>, MapError> {
        let (map, global) = self.find_global(name)?;
        map.read_global_bytes(global)
    }

    fn find_global(&self, name: &str) -> Result<(&Map, &crate::elf::Global), MapError> {
        let globals = &self.shared.object.extra.globals;
        let unknown = || MapError::UnknownGlobal {
            name: name.to_owned(),
            known: if globals.is_empty() {
                "none".to_owned()
            } else {
                globals.keys().cloned().collect::<Vec<_>>().join(", ")
            },
        };
        let global = globals.get(name).ok_or_else(unknown)?;
        let map = self.map(&global.section).ok_or_else(unknown)?;
        Ok((map, global))
    }
}

/// A global variable of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GlobalVariable<'a> {
    /// Its name in the source.
    pub name: &'a str,
    /// Where it lies: `.data`, `.bss`, `.rodata`, or a section whose name begins so.
    pub section: &'a str,
    /// Its size in bytes.
    pub size: usize,
    /// Whether it is signed, if the object's BTF says that it is a plain integer.
    pub integer: Option<bool>,
}

/// Size and sign of the variables that are plain integers.
fn integers(btf: &[u8]) -> HashMap<Vec<u8>, (usize, bool)> {
    let Ok(raw) = Raw::parse(btf.to_vec()) else {
        return HashMap::new();
    };
    let variable = |t: crate::btf::raw::Type<'_>| {
        let (size, signed) = raw.integer(t.size_or_type())?;
        Some((raw.string(t.name_off())?.to_vec(), (size, signed)))
    };
    raw.types()
        .filter(|t| t.kind == Kind::Var)
        .filter_map(variable)
        .collect()
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
    globals: Globals,
    verifier_log_level: u32,
    max_entries: HashMap<String, u32>,
}

impl EbpfLoader {
    /// A loader with nothing set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a global variable before load, constants (`const volatile`) included.
    ///
    /// With `must_exist`, [`EbpfLoader::load`] fails if the object has no such variable.
    pub fn set_global<T: Pod>(&mut self, name: &str, value: &T, must_exist: bool) -> &mut Self {
        self.globals
            .insert(name.to_owned(), (sys::bytes_of(value).to_vec(), must_exist));
        self
    }

    /// Another name for [`EbpfLoader::set_global`].
    pub fn override_global<T: Pod>(
        &mut self,
        name: &str,
        value: &T,
        must_exist: bool,
    ) -> &mut Self {
        self.set_global(name, value, must_exist)
    }

    /// Sets how many elements a map holds, whatever the object says; for a ring buffer its size in bytes.
    pub fn map_max_entries(&mut self, name: &str, max_entries: u32) -> &mut Self {
        self.max_entries.insert(name.to_owned(), max_entries);
        self
    }

    /// Asks the verifier for its log even when it accepts a program: 1 is terse, 2 has every step, 4 the figures (5.2).
    /// The values can be added; other bits mean nothing to a kernel and are left out.
    ///
    /// A refused program gets its log in any case. A log is kept up to 16 MiB; one that is longer, cut off.
    pub fn verifier_log_level(&mut self, level: u32) -> &mut Self {
        self.verifier_log_level = level & 7;
        self
    }

    /// As [`Ebpf::load_file`].
    ///
    /// # Errors
    ///
    /// As [`Ebpf::load_file`], and [`EbpfError::Global`].
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
    /// As [`Ebpf::load`], and [`EbpfError::Global`] when a variable that was set does not exist or has another size.
    pub fn load(&self, data: &[u8]) -> Result<Ebpf, EbpfError> {
        let object = Arc::new(Object::parse(data, &self.globals)?);
        let maps = object.map_names.iter().filter_map(|name| {
            let mut definition = object.parsed().maps.get(name)?.clone();
            if let Some(&entries) = self.max_entries.get(name) {
                definition.set_max_entries(entries);
            }
            Some(Map::new(name, definition, Arc::clone(&object)))
        });
        let maps = maps.collect();
        let log_level = self.verifier_log_level;
        let shared = Arc::new(Shared {
            object,
            maps,
            log_level,
        });
        let programs = Program::all(&shared);
        Ok(Ebpf { shared, programs })
    }
}
