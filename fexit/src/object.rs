//! One object file in memory, on its way from parsed to relocated.
//!
//! Nothing asks the kernel before a program is loaded or a map is touched. Then, once: the object's BTF is loaded,
//! cut down to what this kernel understands; CO-RE relocations are applied; calls are linked. References to maps are
//! left as the map's number until the program that holds them is loaded, so that only maps that are used are created.

mod core;
pub(crate) mod kconfig;
pub(crate) mod ksyms;
mod parts;
pub(crate) mod relocation_sites;
pub(crate) mod running;
mod sanitized_btf;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use aya_obj::{Function, Object as Parsed};

use crate::btf::{Btf, BtfError, Identity, min_core_btf, raw::Raw};
use crate::elf::{self, Extra};
use crate::error::{EbpfError, ProgramError, chain};
use parts::Part;
use sanitized_btf::{SanitizedBtf, sanitize};

pub(crate) use self::core::POISON;

/// Values of variables that were set before load: name, bytes, and whether the variable must exist.
pub(crate) type Globals = HashMap<String, (Vec<u8>, bool)>;

/// The parser's key of a function: its section, and its address there.
pub(crate) type Key = (usize, u64);

pub(crate) struct Object {
    /// As parsed. It is copied for each relocation, so the data of its maps are not in it.
    parsed: Parsed,
    pub(crate) extra: Extra,
    /// The maps, with their data, globals set.
    pub(crate) maps: BTreeMap<String, Arc<aya_obj::Map>>,
    /// Names of the maps; a map's number is its place here.
    pub(crate) map_names: Vec<String>,
    /// None once the kernel has refused every form of the object's BTF.
    sanitized_btf: OnceLock<Option<SanitizedBtf>>,
    relocated: Mutex<Relocations>,
}

/// What was relocated so far, by the types of one kernel.
#[derive(Default)]
struct Relocations {
    /// Which types; none where no relocation asks for any.
    types: Option<Identity>,
    /// By the module that the target is in: what its types are goes before what those of others are.
    whole: HashMap<Option<String>, Arc<Relocated>>,
    /// The modules for which not all of the object can be relocated.
    failed: HashSet<Option<String>>,
    /// By program as well: where something in another program cannot be relocated.
    alone: HashMap<(String, Option<String>), Arc<Relocated>>,
}

impl Relocations {
    /// Forgets what was made for other types than these.
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
        let whole = self.whole.get(&module);
        whole
            .or_else(|| self.alone.get(&(program.to_owned(), module)))
            .cloned()
    }
}

/// The relocated functions. References to maps and externs are resolved at load.
pub(crate) struct Relocated {
    pub(crate) object: Parsed,
}

/// All of it would be megabytes.
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
        let (copy, extra) = elf::examine(data)?;
        let mut parsed = parse(&copy)?;
        drop(copy);
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

    /// The object's BTF in the kernel; none when it has none, or none that this kernel takes.
    pub(crate) fn btf_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.sanitized_btf().ok()??.fd.as_fd())
    }

    /// Loads the object's BTF into the kernel once. The result is kept, except an error that may not last.
    ///
    /// Without the rights to load BTF the object goes on without it: programs of some types can be loaded without.
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

    /// Relocates the object against the kernel that `btf` describes and its modules, first of all `module`, once for the
    /// same types: all of it, or if that cannot be, what `program` needs.
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
            match self.relocate(&self.whole(), kernel.as_ref(), module) {
                Ok(done) => {
                    slot.whole.insert(of, Arc::clone(&done));
                    return Ok(done);
                }
                // What could not be read may be readable the next time.
                Err(ProgramError::Btf(_)) => {}
                Err(_) => drop(slot.failed.insert(of.clone())),
            }
        }
        let part = self.part(program)?;
        let done = self.relocate(&part, kernel.as_ref(), module)?;
        slot.alone
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
        // They are not needed any more.
        (object.btf, object.btf_ext) = (None, None);
        self.link(&mut object)?;
        Ok(Arc::new(Relocated { object }))
    }

    /// Has the kernel's types looked through once for all that is known to be wanted: these functions, and the types that
    /// the CO-RE relocations are about.
    pub(crate) fn prefetch_names(&self, kernel: &Btf, functions: &[&str]) -> Result<(), BtfError> {
        let local = Raw::parse(self.extra.btf.clone()).ok();
        let types = local
            .as_ref()
            .map(|local| min_core_btf::names(local, &self.extra.core));
        kernel.prefetch_names(functions, types.flatten().unwrap_or_default())
    }

    /// Appends subprograms to the programs that call them, and writes each map's number where it is referred to.
    fn link(&self, object: &mut Parsed) -> Result<(), ProgramError> {
        let sections: HashSet<usize> = object
            .functions
            .keys()
            .map(|(section, _)| *section)
            .collect();
        let numbered = self.map_names.iter().zip(0..).filter_map(|(name, number)| {
            Some((name.as_str(), number, self.parsed.maps.get(name)?))
        });
        relocation(catch_parser_panic(|| {
            object.relocate_maps(numbered, &sections)?;
            object.relocate_calls(&sections)
        }))
    }

    /// The functions, linked, but as the object has them: no kernel is asked.
    pub(crate) fn linked(&self) -> Result<Parsed, ProgramError> {
        let mut object = self.parsed.clone();
        self.link(&mut object)?;
        Ok(object)
    }
}

/// Takes out the maps with their data. What is left tells which have any, and where they are declared.
fn take_maps(parsed: &mut Parsed) -> BTreeMap<String, Arc<aya_obj::Map>> {
    let mut maps = BTreeMap::new();
    for (name, map) in &mut parsed.maps {
        let data = std::mem::take(map.data_mut());
        let mut whole = map.clone();
        map.data_mut().resize(data.len().min(1), 0);
        *whole.data_mut() = data;
        maps.insert(name.clone(), Arc::new(whole));
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
        slot.ok_or_else(|| error("it lies in no data section".to_owned()))?
            .copy_from_slice(value);
    }
    Ok(())
}

/// Runs code of the parser that may panic on a hostile file; the panic becomes an error.
///
/// The process's panic hook still sees it, and prints it unless it was replaced; built with `panic = "abort"` the
/// process ends. [`crate::Ebpf::load`] says so.
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
