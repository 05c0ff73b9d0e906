//! One object file: its programs, maps and global variables.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::btf::raw::{Kind, Raw};
use crate::maps::{Map, MapError, Pod};
use crate::programs::{Program, Shared};

/// Another name for [`Ebpf`].
pub type Bpf = Ebpf;

/// An object file with its programs and maps.
///
/// Dropping it detaches and unloads all programs. Links that were taken stay attached.
#[derive(Debug)]
pub struct Ebpf {
    pub(crate) shared: Arc<Shared>,
    programs: BTreeMap<String, Program>,
    /// The maps that were not taken; the programs refer to all maps.
    maps: BTreeMap<String, Map>,
}

impl Ebpf {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        let maps = shared.maps.iter();
        Self {
            programs: Program::all(shared),
            maps: maps
                .map(|map| (map.name().to_owned(), map.clone()))
                .collect(),
            shared: Arc::clone(shared),
        }
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

    /// The map of this name, to read. Converting it to a typed view creates it if needed.
    pub fn map(&self, name: &str) -> Option<&Map> {
        self.maps.get(name)
    }

    /// The map of this name, to read and write.
    pub fn map_mut(&mut self, name: &str) -> Option<&mut Map> {
        self.maps.get_mut(name)
    }

    /// Takes the map of this name out, to own it, for example in another thread. Programs still use it.
    pub fn take_map(&mut self, name: &str) -> Option<Map> {
        self.maps.remove(name)
    }

    /// All maps by name, including those of global variables (`.bss`, `.data`, `.rodata`), without those that were taken.
    pub fn maps(&self) -> impl Iterator<Item = (&str, &Map)> {
        self.maps.iter().map(|(name, map)| (name.as_str(), map))
    }

    /// All maps by name, to read and write.
    pub fn maps_mut(&mut self) -> impl Iterator<Item = (&str, &mut Map)> {
        self.maps.iter_mut().map(|(name, map)| (name.as_str(), map))
    }

    /// Reads the current value of a global variable of the object.
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
    /// Only this variable changes if its map is memory-mapped: from 5.5 on, except for a map that was created elsewhere
    /// without `BPF_F_MMAPABLE`. Otherwise all variables of the map are read and written back, and what a program writes
    /// meanwhile may be lost.
    /// Source: kernel commit fc9702273e2e ("bpf: Add mmap() support for BPF_MAP_TYPE_ARRAY").
    ///
    /// # Errors
    ///
    /// As [`Ebpf::global`], and [`MapError::ReadOnly`] for a constant: those are set by
    /// [`EbpfLoader::set_global`](crate::EbpfLoader::set_global).
    pub fn set_global<T: Pod>(&self, name: &str, value: T) -> Result<(), MapError> {
        let (map, global) = self.find_global(name)?;
        map.write_global(name, global, value)
    }

    /// Names of the global variables.
    pub fn globals(&self) -> impl Iterator<Item = &str> {
        self.shared.object.extra.globals.keys().map(String::as_str)
    }

    /// The global variables, with section, size and sign.
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

    /// Reads a global variable of any type as bytes.
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
        let mut maps = self.shared.maps.iter();
        let map = maps.find(|map| map.name() == global.section);
        let map = map.ok_or_else(unknown)?;
        Ok((map, global))
    }
}

/// A global variable of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GlobalVariable<'a> {
    /// Its name in the source.
    pub name: &'a str,
    /// Its section: `.data`, `.bss`, `.rodata`, or one whose name begins with one of these; or the map of its arena.
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
