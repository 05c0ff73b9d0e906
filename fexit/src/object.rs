//! One object file in memory, parsed and relocated.
//!
//! The first load of a program relocates the object, once for each kernel's types: the object's BTF is sanitized and
//! loaded, CO-RE relocations are applied, and calls are linked. References to maps keep the map's number until the
//! program is loaded, so that only maps that are used are created.

pub(crate) mod arena;
mod core;
mod exceptions;
pub(crate) mod kconfig;
pub(crate) mod ksyms;
mod parts;
pub(crate) mod relocation_sites;
pub(crate) mod running;
mod sanitized_btf;
mod struct_ops;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use aya_obj::{Function, Object as Parsed};

use crate::btf::raw::{Kind, Raw};
use crate::btf::{Btf, BtfError, Identity, min_core_btf};
use crate::elf::{self, Extra};
use crate::error::{EbpfError, ProgramError, chain};
use parts::Part;
use sanitized_btf::{SanitizedBtf, sanitize};

pub(crate) use self::core::POISON;

/// Values of variables that were set before load: name, bytes, and whether the variable must exist.
pub(crate) type Globals = HashMap<String, (Vec<u8>, bool)>;

/// aya-obj's key of a function: its section, and its address there.
pub(crate) type Key = (usize, u64);

pub(crate) struct Object {
    /// As parsed, without the data of its maps, because it is copied for each relocation.
    parsed: Parsed,
    pub(crate) extra: Extra,
    /// The maps with their data; globals are set.
    pub(crate) maps: BTreeMap<String, Arc<aya_obj::Map>>,
    /// Names of the maps, by number.
    pub(crate) map_names: Vec<String>,
    /// None if the kernel refused every form of the object's BTF.
    sanitized_btf: OnceLock<Option<SanitizedBtf>>,
    relocated: Mutex<Relocations>,
}

/// The relocations that were made with the types of one kernel.
#[derive(Default)]
struct Relocations {
    /// The kernel's types; none if no relocation uses them.
    types: Option<Identity>,
    /// All programs, by the target's module, whose types precede those of other modules.
    all: HashMap<Option<String>, Arc<Relocated>>,
    /// The modules for which some program cannot be relocated.
    failed: HashSet<Option<String>>,
    /// By program too, for these modules.
    per_program: HashMap<(String, Option<String>), Arc<Relocated>>,
}

impl Relocations {
    /// Drops the relocations if they were made with other types.
    fn keep_only(&mut self, types: Option<Identity>) {
        if self.types != types {
            *self = Self {
                types,
                ..Self::default()
            };
        }
    }

    fn of(&self, program: &str, module: Option<&str>) -> Option<Arc<Relocated>> {
        let module = module.map(str::to_owned);
        let all = self.all.get(&module);
        all.or_else(|| self.per_program.get(&(program.to_owned(), module)))
            .cloned()
    }
}

/// The relocated functions. References to maps and externs are resolved at load.
pub(crate) struct Relocated {
    pub(crate) object: Parsed,
}

/// The names of programs and maps only: all of it would be megabytes.
impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let programs: Vec<_> = self.parsed.programs.keys().collect();
        f.debug_struct("Object")
            .field("programs", &programs)
            .field("maps", &self.map_names)
            .finish_non_exhaustive()
    }
}

impl Relocated {
    /// The function of the program with this name, followed by its subprograms.
    pub(crate) fn function(&self, program: &str) -> Option<&Function> {
        self.object
            .functions
            .get(&self.object.programs.get(program)?.function_key())
    }
}

impl Object {
    pub(crate) fn parse(data: &[u8], globals: &Globals) -> Result<Self, EbpfError> {
        let (copy, mut extra) = elf::examine(data)?;
        let mut parsed = parse(&copy)?;
        drop(copy);
        arena::resolve(&mut parsed, &mut extra)?;
        set_globals(&mut parsed, &extra, globals)?;
        let maps: BTreeMap<String, Arc<aya_obj::Map>> = take_maps(&mut parsed);
        Ok(Self {
            parsed,
            extra,
            map_names: maps.keys().cloned().collect(),
            maps,
            sanitized_btf: OnceLock::new(),
            relocated: Mutex::default(),
        })
    }

    pub(crate) fn parsed(&self) -> &Parsed {
        &self.parsed
    }

    /// The object's BTF in the kernel; none if it has none, or if the kernel accepts no form of it.
    pub(crate) fn btf_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.sanitized_btf().ok()??.fd.as_fd())
    }

    /// The `map_extra` of a map, if the object declares it by `__ulong`.
    pub(crate) fn map_extra(&self, map: &str) -> Option<u64> {
        self.extra.map_extras.get(map).copied()
    }

    /// The type id of a data section in the object's BTF.
    pub(crate) fn data_section(&self, name: &str) -> Option<u32> {
        let btf = Raw::parse(self.extra.btf.clone()).ok()?;
        let section = btf
            .types()
            .find(|t| t.kind == Kind::DataSec && btf.is_named(t.name_off(), name.as_bytes()));
        section.map(|section| section.id)
    }

    /// Loads the object's BTF into the kernel once. The result is kept, except for a temporary error.
    ///
    /// A process that may not load BTF gets none: programs of some types can be loaded without it.
    fn sanitized_btf(&self) -> Result<Option<&SanitizedBtf>, ProgramError> {
        if let Some(known) = self.sanitized_btf.get() {
            return Ok(known.as_ref());
        }
        match sanitize(&self.parsed) {
            Ok(sanitized) => Ok(self.sanitized_btf.get_or_init(|| sanitized).as_ref()),
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => Ok(None),
            Err(io_error) => Err(ProgramError::SyscallError {
                call: "BPF_BTF_LOAD",
                io_error,
            }),
        }
    }

    /// Relocates the object against the kernel that `btf` describes and its modules, once for the same types: all programs,
    /// or if one fails, only `program`. Types of `module` precede those of other modules.
    ///
    /// `btf` is called only if the object has CO-RE relocations.
    pub(crate) fn relocated(
        &self,
        program: &str,
        module: Option<&str>,
        btf: impl Fn() -> Result<Btf, ProgramError>,
    ) -> Result<Arc<Relocated>, ProgramError> {
        let kernel = (!self.extra.core.is_empty()).then(btf).transpose()?;
        let mut slot = self
            .relocated
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        slot.keep_only(kernel.as_ref().map(Btf::identity));
        if let Some(done) = slot.of(program, module) {
            return Ok(done);
        }
        self.sanitized_btf()?;
        let of = module.map(str::to_owned);
        if !slot.failed.contains(&of) {
            match self.relocate(&self.all(), kernel.as_ref(), module) {
                Ok(done) => {
                    slot.all.insert(of, Arc::clone(&done));
                    return Ok(done);
                }
                // BTF that cannot be read may be readable later.
                Err(ProgramError::Btf(_)) => {}
                Err(_) => drop(slot.failed.insert(of.clone())),
            }
        }
        let part = self.part(program)?;
        let done = self.relocate(&part, kernel.as_ref(), module)?;
        slot.per_program
            .insert((program.to_owned(), of), Arc::clone(&done));
        Ok(done)
    }

    fn relocate(
        &self,
        part: &Part,
        kernel: Option<&Btf>,
        module: Option<&str>,
    ) -> Result<Arc<Relocated>, ProgramError> {
        let mut object = self.copy(part)?;
        if let Some(sanitized) = self.sanitized_btf()? {
            object.btf = Some(sanitized.btf.clone());
        }
        if let Some(kernel) = kernel {
            self.apply_core(&mut object, part, kernel, module)?;
        }
        // Only the relocation uses them.
        (object.btf, object.btf_ext) = (None, None);
        self.link(&mut object, self.has_decl_tags()?)?;
        Ok(Arc::new(Relocated { object }))
    }

    /// Looks up the names of these functions, and of the types of the CO-RE relocations, in one pass over the kernel's BTF.
    pub(crate) fn prefetch_names(&self, kernel: &Btf, functions: &[&str]) -> Result<(), BtfError> {
        let local = Raw::parse(self.extra.btf.clone()).ok();
        let types = local
            .as_ref()
            .map(|local| min_core_btf::names(local, &self.extra.core));
        kernel.prefetch_names(functions, types.flatten().unwrap_or_default())
    }

    /// Whether the kernel can be told of exception callbacks, which are declaration tags.
    pub(crate) fn has_decl_tags(&self) -> Result<bool, ProgramError> {
        Ok(self.sanitized_btf()?.is_some_and(|btf| btf.has_decl_tags))
    }

    /// Appends subprograms and exception callbacks to programs, and writes each map's number into the instructions that use
    /// it.
    fn link(&self, object: &mut Parsed, with_callbacks: bool) -> Result<(), ProgramError> {
        let sections: HashSet<usize> = object
            .functions
            .keys()
            .map(|(section, _)| *section)
            .collect();
        let numbered = self.map_names.iter().zip(0..).filter_map(|(name, number)| {
            Some((name.as_str(), number, self.parsed.maps.get(name)?))
        });
        relocation(catch_parser_panic(|| {
            object.relocate_maps(numbered, &sections)
        }))?;
        self.link_calls(object, with_callbacks)
    }

    /// What `program` needs, relocated against these types, which are not those of the running kernel. No kernel is asked.
    pub(crate) fn relocated_offline(
        &self,
        program: &str,
        kernel: &Btf,
    ) -> Result<Relocated, ProgramError> {
        let part = self.part(program)?;
        let mut object = self.copy(&part)?;
        self.apply_core(&mut object, &part, kernel, None)?;
        Ok(Relocated { object })
    }

    /// The linked functions without CO-RE relocations; makes no system call.
    pub(crate) fn linked(&self) -> Result<Parsed, ProgramError> {
        let mut object = self.parsed.clone();
        self.link(&mut object, true)?;
        Ok(object)
    }
}

/// Takes the maps with their data. The parsed object keeps their declarations, and whether they have data.
fn take_maps(parsed: &mut Parsed) -> BTreeMap<String, Arc<aya_obj::Map>> {
    let mut maps = BTreeMap::new();
    for (name, map) in &mut parsed.maps {
        let data = std::mem::take(map.data_mut());
        let mut taken = map.clone();
        // Only references to sections with data have an offset.
        if matches!(map, aya_obj::Map::Legacy(_)) {
            map.data_mut().resize(data.len().min(1), 0);
        }
        *taken.data_mut() = data;
        maps.insert(name.clone(), Arc::new(taken));
    }
    maps
}

fn parse(file: &[u8]) -> Result<Parsed, EbpfError> {
    catch_parser_panic(|| Parsed::parse(file))
        .map_err(|what| EbpfError::Malformed { what })?
        .map_err(|error| EbpfError::ParseError {
            reason: chain(&error),
        })
}

fn set_globals(parsed: &mut Parsed, extra: &Extra, globals: &Globals) -> Result<(), EbpfError> {
    for (name, (value, must_exist)) in globals {
        let error = |what: String| EbpfError::Global {
            name: name.clone(),
            what,
        };
        let Some(global) = extra.globals.get(name) else {
            if *must_exist {
                return Err(error("the object has no such variable".to_owned()));
            }
            continue;
        };
        if global.size != value.len() {
            return Err(error(format!(
                "it has {} bytes, the value {}",
                global.size,
                value.len()
            )));
        }
        let data = parsed
            .maps
            .get_mut(&global.section)
            .map(aya_obj::Map::data_mut);
        let slot = data.and_then(|data| data.get_mut(global.offset..global.offset + global.size));
        slot.ok_or_else(|| error("it is in no data section".to_owned()))?
            .copy_from_slice(value);
    }
    Ok(())
}

/// Runs code of aya-obj that may panic on a hostile file, and returns the panic as an error.
///
/// The panic hook still runs; with `panic = "abort"` the process ends, as [`crate::Ebpf::load`] documents.
fn catch_parser_panic<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no reason");
        format!("its parts contradict each other ({text})")
    })
}

fn relocation<T, E: std::error::Error>(
    result: Result<Result<T, E>, String>,
) -> Result<T, ProgramError> {
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(ProgramError::Relocation {
            reason: chain(&error),
        }),
        Err(reason) => Err(ProgramError::Relocation { reason }),
    }
}
