//! One object file in memory, on its way from parsed to relocated.
//!
//! Nothing asks the kernel before a program is loaded or a map is touched. Then, once: the object's BTF is loaded,
//! cut down to what this kernel understands; CO-RE relocations are applied; calls are linked. References to maps are
//! left as the map's number until the program that holds them is loaded, so that only maps that are used are created.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use aya_obj::btf::BtfFeatures;
use aya_obj::{Function, Object as Parsed};

use crate::btf::{Btf, BtfError, cut, raw::Raw};
use crate::elf::{self, Extra};
use crate::error::{EbpfError, ProgramError, chain};
use crate::sys;

/// Values of variables that were set before load: name, bytes, and whether the variable must exist.
pub(crate) type Globals = HashMap<String, (Vec<u8>, bool)>;

pub(crate) struct Object {
    /// As parsed, with its globals set.
    parsed: Parsed,
    pub(crate) extra: Extra,
    /// Names of the maps; a map's number is its place here.
    pub(crate) map_names: Vec<String>,
    accepted: OnceLock<Accepted>,
    relocated: Mutex<Relocations>,
    /// The file, if it has CO-RE relocations: see [`Object::alone`].
    file: Vec<u8>,
}

/// What was relocated so far.
#[derive(Default)]
struct Relocations {
    /// By the module that the target is in: what its types are goes before what those of others are.
    whole: HashMap<Option<String>, Arc<Relocated>>,
    /// By program as well: where a relocation of another program cannot be applied.
    alone: HashMap<(String, Option<String>), Arc<Relocated>>,
}

impl Relocations {
    fn of(&self, program: &str, module: Option<&str>) -> Option<Arc<Relocated>> {
        let module = module.map(str::to_owned);
        let whole = self.whole.get(&module);
        whole
            .or_else(|| self.alone.get(&(program.to_owned(), module)))
            .cloned()
    }
}

/// The object with its BTF as this kernel takes it.
struct Accepted {
    object: Parsed,
    btf_fd: Option<OwnedFd>,
}

/// The functions, ready but for the numbers of maps.
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
    /// The function of the program with this name, its subprograms behind it.
    pub(crate) fn function(&self, program: &str) -> Option<&Function> {
        self.object
            .functions
            .get(&self.object.programs.get(program)?.function_key())
    }
}

impl Object {
    pub(crate) fn parse(data: &[u8], globals: &Globals) -> Result<Self, EbpfError> {
        let (copy, extra) = elf::examine(data, None)?;
        let mut parsed = parse(&copy)?;
        set_globals(&mut parsed, &extra, globals)?;
        let mut map_names: Vec<String> = parsed.maps.keys().cloned().collect();
        map_names.sort_unstable();
        let file = if extra.core.is_empty() {
            Vec::new()
        } else {
            data.to_vec()
        };
        Ok(Self {
            file,
            parsed,
            extra,
            map_names,
            accepted: OnceLock::new(),
            relocated: Mutex::default(),
        })
    }

    pub(crate) fn parsed(&self) -> &Parsed {
        &self.parsed
    }

    /// The object's BTF in the kernel; none when it has none, or none that this kernel takes.
    pub(crate) fn btf_fd(&self) -> Option<BorrowedFd<'_>> {
        self.accepted().ok()?.btf_fd.as_ref().map(AsFd::as_fd)
    }

    /// What came of a try is kept, but for a shortage, which may pass.
    fn accepted(&self) -> Result<&Accepted, ProgramError> {
        if let Some(accepted) = self.accepted.get() {
            return Ok(accepted);
        }
        let accepted = accept(&self.parsed).map_err(|io_error| ProgramError::SyscallError {
            call: "BPF_BTF_LOAD",
            io_error,
        })?;
        Ok(self.accepted.get_or_init(|| accepted))
    }

    /// Relocates the object against the kernel that `btf` describes and its modules, first of all `module`, the first
    /// time only: all of it, or if that cannot be, what `program` needs.
    ///
    /// `btf` is asked for only if the object has CO-RE relocations.
    pub(crate) fn relocated(
        &self,
        program: &str,
        module: Option<&str>,
        btf: impl Fn() -> Result<Btf, ProgramError>,
    ) -> Result<Arc<Relocated>, ProgramError> {
        let mut slot = self
            .relocated
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(done) = slot.of(program, module) {
            return Ok(done);
        }
        let mut object = self.accepted()?.object.clone();
        let mut whole = true;
        if !self.extra.core.is_empty() {
            let kernel = btf()?;
            if let Err(error) = self.apply_core(&mut object, &kernel, module) {
                object = self.alone(program).ok_or(error)?;
                self.apply_core(&mut object, &kernel, module)?;
                whole = false;
            }
        }
        self.link(&mut object)?;
        let done = Arc::new(Relocated { object });
        let module = module.map(str::to_owned);
        if whole {
            slot.whole.insert(module, Arc::clone(&done));
        } else {
            let key = (program.to_owned(), module);
            slot.alone.insert(key, Arc::clone(&done));
        }
        Ok(done)
    }

    /// Has the kernel's types looked through once for all that is known to be wanted: these functions, and the types that
    /// the CO-RE relocations are about.
    pub(crate) fn look_ahead(&self, kernel: &Btf, functions: &[&str]) -> Result<(), BtfError> {
        let local = Raw::parse(self.extra.btf.clone()).ok();
        let types = local
            .as_ref()
            .map(|local| cut::names(local, &self.extra.core));
        kernel.look_ahead(functions, types.flatten().unwrap_or_default())
    }

    /// The object with only those CO-RE relocations that `program`'s section and subprograms hold.
    ///
    /// The relocation code stops at the first one that cannot be applied, whosever it is.
    fn alone(&self, program: &str) -> Option<Parsed> {
        let section = self.extra.sections.get(program)?;
        let (copy, _) = elf::examine(&self.file, Some(section)).ok()?;
        let mut object = self.accepted().ok()?.object.clone();
        object.btf_ext = parse(&copy).ok()?.btf_ext;
        Some(object)
    }

    /// Puts subprograms behind the programs that call them, and each map's number where it is referred to.
    fn link(&self, object: &mut Parsed) -> Result<(), ProgramError> {
        let sections: HashSet<usize> = object
            .functions
            .keys()
            .map(|(section, _)| *section)
            .collect();
        let numbered = self.map_names.iter().zip(0..).filter_map(|(name, number)| {
            Some((name.as_str(), number, self.parsed.maps.get(name)?))
        });
        relocation(shielded(|| {
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

    fn apply_core(
        &self,
        object: &mut Parsed,
        kernel: &Btf,
        module: Option<&str>,
    ) -> Result<(), ProgramError> {
        let local = Raw::parse(self.extra.btf.clone())?;
        let modules = kernel.modules(module);
        let cut = cut::cut(kernel, modules, &local, &self.extra.core)?;
        let bytes = match &cut {
            Some(cut) => cut.bytes.as_slice(),
            None => kernel.raw()?.bytes(),
        };
        let target = relocation(shielded(|| {
            aya_obj::btf::Btf::parse(bytes, object.endianness)
        }))?;
        relocation(shielded(|| object.relocate_btf(&target)))?;
        if let Some(cut) = cut {
            self.restore_type_ids(object, &local, &cut.kernel_ids);
        }
        Ok(())
    }

    /// Relocations that ask for a type id have got that of the cut: put the kernel's in its place.
    fn restore_type_ids(&self, object: &mut Parsed, local: &Raw, kernel_ids: &[u32]) {
        const LD_IMM64: u8 = 0x18;
        for relocation in self.extra.core.iter().filter(|r| r.wants_target_id()) {
            let section = local
                .string(relocation.section_name)
                .map(String::from_utf8_lossy);
            let section = section.and_then(|name| self.extra.section_index.get(name.as_ref()));
            let at = relocation.insn_off as usize;
            let instruction = object
                .functions
                .values_mut()
                .filter(|f| Some(&f.section_index.0) == section)
                .find_map(|f| {
                    f.instructions
                        .get_mut(at.checked_sub(f.section_offset)? / 8)
                });
            if let Some(instruction) = instruction.filter(|i| i.code == LD_IMM64 || i.code & 7 != 5)
            {
                let id = usize::try_from(instruction.imm)
                    .ok()
                    .and_then(|id| id.checked_sub(1));
                if let Some(&id) = id.and_then(|id| kernel_ids.get(id)) {
                    instruction.imm = id.cast_signed();
                }
            }
        }
    }
}

fn parse(file: &[u8]) -> Result<Parsed, EbpfError> {
    shielded(|| Parsed::parse(file))
        .map_err(|what| EbpfError::Malformed { what })?
        .map_err(|error| EbpfError::ParseError(Box::new(error)))
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

/// Finds the richest form of the object's BTF that this kernel takes.
///
/// Kernels learned the kinds of BTF one after the other, so leaving them out from the newest down finds it in a few
/// cheap calls, and the kernel itself is the judge. Only for want of memory or descriptors it cannot judge.
fn accept(parsed: &Parsed) -> io::Result<Accepted> {
    const KINDS: usize = 8;
    let bare = || Accepted {
        object: parsed.clone(),
        btf_fd: None,
    };
    if parsed.btf.is_none() {
        return Ok(bare());
    }
    for known in (0..=KINDS).rev() {
        // func 5.0, datasec 5.2, global func 5.6, empty datasec 5.12, float 5.13, decl_tag 5.16, type_tag 5.17, enum64 6.0
        let has = |kind: usize| kind < known;
        let features = BtfFeatures::new(
            has(0),
            has(2),
            has(1),
            has(3),
            has(4),
            has(5),
            has(6),
            has(7),
        );
        let mut object = parsed.clone();
        let bytes = shielded(|| {
            object
                .fixup_and_sanitize_btf(&features)
                .ok()
                .flatten()
                .map(aya_obj::btf::Btf::to_bytes)
        });
        let Ok(Some(bytes)) = bytes else {
            return Ok(bare());
        };
        match sys::with_memlock(|| sys::btf_load(&bytes, &mut [])) {
            Ok(fd) => {
                return Ok(Accepted {
                    object,
                    btf_fd: Some(fd),
                });
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::EPERM) => return Ok(bare()),
                Some(libc::ENOMEM | libc::EMFILE | libc::ENFILE | libc::EAGAIN) => {
                    return Err(error);
                }
                _ => {}
            },
        }
    }
    Ok(bare())
}

/// Runs code of the parser that may panic on a hostile file; the panic becomes an error.
///
/// The process's panic hook still sees it, and prints it unless it was replaced; built with `panic = "abort"` the
/// process ends. [`crate::Ebpf::load`] says so.
fn shielded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
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
