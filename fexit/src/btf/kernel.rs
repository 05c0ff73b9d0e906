//! The types of a kernel, read lazily, with lookup by name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use object::Endianness;

use super::diagnose;
use super::error::{BtfError, KERNEL_BTF};
use super::kallsyms::Symbols;
use super::lazy::LazyBtf;
use super::name_filter::NameFilter;
use super::names::{self, Match, Names};
use super::raw::{Kind, Raw, Type};
use crate::sys;

/// The types of a kernel, read in place.
///
/// Cloning is cheap: clones share the types.
///
/// # Example
///
/// ```no_run
/// let btf = fexit::Btf::from_sys_fs()?;
/// # Ok::<(), fexit::BtfError>(())
/// ```
#[derive(Clone)]
pub struct Btf {
    pub(super) kernel: Arc<Kernel>,
}

#[derive(Default)]
pub(super) struct Kernel {
    /// Whether it is the running kernel's, so that its modules exist.
    pub(super) is_running: bool,
    pub(super) lazy: Option<LazyBtf>,
    /// The BTF that this one is split from.
    pub(super) base: Option<Btf>,
    pub(super) raw: OnceLock<Raw>,
    pub(super) names: Names,
    /// Read if BTF does not have the answer.
    pub(super) symbols: OnceLock<Symbols>,
}

/// Without the types, which would be megabytes.
impl fmt::Debug for Btf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Btf")
            .field("bytes", &self.len())
            .finish_non_exhaustive()
    }
}

impl From<Raw> for Btf {
    fn from(raw: Raw) -> Self {
        Self::from(Kernel {
            raw: OnceLock::from(raw),
            ..Kernel::default()
        })
    }
}

impl From<Kernel> for Btf {
    fn from(kernel: Kernel) -> Self {
        Self {
            kernel: Arc::new(kernel),
        }
    }
}

/// Identifies the types that a result was made from, without keeping them in memory.
pub(crate) struct Identity {
    is_running: bool,
    kernel: Weak<Kernel>,
}

impl PartialEq for Identity {
    /// The running kernel's, which never change.
    fn eq(&self, other: &Self) -> bool {
        self.is_running && other.is_running || Weak::ptr_eq(&self.kernel, &other.kernel)
    }
}

impl Btf {
    /// The running kernel's BTF, from `/sys/kernel/btf/vmlinux`.
    ///
    /// It is read when it is used, and only as far as needed; mapped if the kernel allows that (6.16).
    ///
    /// # Minimum kernel version
    ///
    /// 5.4, if it was built with `CONFIG_DEBUG_INFO_BTF=y`.
    ///
    /// # Errors
    ///
    /// [`BtfError::NoKernelBtf`] when there is none, [`BtfError::FileError`] when it cannot be read,
    /// [`BtfError::Malformed`] when it is not BTF.
    pub fn from_sys_fs() -> Result<Self, BtfError> {
        let lazy = LazyBtf::open(&sys::kernel_file(KERNEL_BTF)).map_err(|error| match error {
            BtfError::FileError { error, .. } if error.kind() == io::ErrorKind::NotFound => {
                BtfError::NoKernelBtf
            }
            other => other,
        })?;
        let mut kernel = Kernel {
            is_running: true,
            ..Kernel::default()
        };
        match lazy.mapped() {
            Some(raw) => kernel.raw = OnceLock::from(raw?),
            None => kernel.lazy = Some(lazy),
        }
        Ok(Self::from(kernel))
    }

    /// Reads BTF from a file without ELF, like those in `/sys/kernel/btf` and those that `pahole` writes.
    ///
    /// # Errors
    ///
    /// [`BtfError::FileError`] when the file cannot be read, [`BtfError::Malformed`] when it is not BTF, or of another
    /// byte order than this machine's.
    pub fn parse_file<P: AsRef<Path>>(path: P, endianness: Endianness) -> Result<Self, BtfError> {
        is_native(endianness)?;
        let path = path.as_ref();
        let data = fs::read(path).map_err(|error| BtfError::FileError {
            path: path.to_owned(),
            error,
        })?;
        let raw = Raw::parse(data)?;
        raw.check()?;
        Ok(Self::from(raw))
    }

    /// Reads BTF from memory, checking every record.
    ///
    /// # Errors
    ///
    /// [`BtfError::Malformed`] when it is not BTF, of another byte order than this machine's, or truncated.
    pub fn parse(data: &[u8], endianness: Endianness) -> Result<Self, BtfError> {
        is_native(endianness)?;
        let raw = Raw::parse(data.to_vec())?;
        raw.check()?;
        Ok(Self::from(raw))
    }

    /// The types. The first call may read them.
    pub(crate) fn raw(&self) -> Result<&Raw, BtfError> {
        let kernel = &self.kernel;
        if let (None, Some(lazy)) = (kernel.raw.get(), &kernel.lazy) {
            let raw = lazy.read(Path::new(KERNEL_BTF))?;
            return Ok(kernel.raw.get_or_init(|| raw));
        }
        kernel.raw.get().ok_or(BtfError::NoKernelBtf)
    }

    /// Whether a type, member or other entry has this name.
    pub(super) fn mentions(&self, name: &str) -> bool {
        match (self.kernel.raw.get(), &self.kernel.lazy) {
            (Some(raw), _) => raw.mentions(name.as_bytes()),
            (None, Some(lazy)) => lazy.string(name.as_bytes()).is_some(),
            (None, None) => false,
        }
    }

    fn len(&self) -> usize {
        let lazy = self.kernel.lazy.as_ref().map_or(0, LazyBtf::len);
        self.kernel.raw.get().map_or(lazy, |raw| raw.bytes().len())
    }

    pub(super) fn symbols(&self) -> &Symbols {
        self.kernel.symbols.get_or_init(Symbols::read)
    }

    /// Why the kernel has no address for this function in the BTF of the kernel or of this module; `None` if unknown.
    pub(crate) fn without_address(&self, name: &str, module: Option<&str>) -> Option<String> {
        diagnose::without_address(name, module, self.symbols())
    }

    /// The modules that have a function with this name, with or without BTF.
    pub(crate) fn modules_with(&self, name: &str) -> Vec<String> {
        self.symbols().modules_with(name)
    }

    /// The kernel's functions with this name. The first lookup in the running kernel returns only the first one.
    pub(super) fn functions(&self, name: &str) -> Result<Vec<u32>, BtfError> {
        let kernel = &self.kernel;
        if let Some(known) = kernel.names.known_functions(name.as_bytes()) {
            return Ok(known);
        }
        // Most callers look up one function. Further lookups use the index.
        if kernel.names.is_first_look() {
            let found = match (kernel.raw.get(), &kernel.lazy) {
                (Some(raw), _) if kernel.is_running => Some(names::first(raw, name.as_bytes())),
                (None, Some(lazy)) => lazy.function(name.as_bytes()).map(Some),
                _ => None,
            };
            if let Some(found) = found {
                if let (None, Some(raw)) = (found, kernel.raw.get()) {
                    raw.check()?;
                }
                found.inspect(|&id| kernel.names.note(name.as_bytes(), id));
                return Ok(found.into_iter().collect());
            }
        }
        kernel.names.functions(self.raw()?, name.as_bytes())
    }

    /// The identity of these types.
    pub(crate) fn identity(&self) -> Identity {
        Identity {
            is_running: self.kernel.is_running,
            kernel: Arc::downgrade(&self.kernel),
        }
    }

    /// Looks up all these functions and types in one pass, so that later lookups find them in the cache.
    pub(crate) fn prefetch_names<'n>(
        &self,
        functions: &[&'n str],
        types: Vec<&'n [u8]>,
    ) -> Result<(), BtfError> {
        let functions = functions.iter().map(|name| name.as_bytes());
        self.kernel.names.learn(self.raw()?, functions, types)
    }

    /// Whether a function was looked up before.
    pub(crate) fn was_asked(&self) -> bool {
        self.kernel.names.was_asked()
    }

    /// Whether the lookup of this function is cached.
    pub(crate) fn knows(&self, name: &str) -> bool {
        let known = self.kernel.names.known_functions(name.as_bytes());
        known.is_some()
    }

    /// The kernel's types that have one of these names.
    pub(super) fn types_named<'n>(
        &self,
        names: &NameFilter<'n>,
    ) -> Result<Vec<Match<'n>>, BtfError> {
        self.kernel.names.types(self.raw()?, names)
    }

    /// The type id of the kernel's function with this name.
    pub(crate) fn function_id(&self, name: &str) -> Option<u32> {
        self.functions(name).ok()?.first().copied()
    }

    /// Whether the BTF of the kernel itself, as far as it can be read, has a function with this name.
    pub fn has_function(&self, name: &str) -> bool {
        self.function_id(name).is_some()
    }

    pub(crate) fn has_struct(&self, name: &str) -> bool {
        self.any(|raw, t| t.kind == Kind::Struct && raw.is_named(t.name_off(), name.as_bytes()))
    }

    pub(crate) fn has_member(&self, name: &str, member: &str) -> bool {
        self.any(|raw, t| {
            let named = t.kind == Kind::Struct && raw.is_named(t.name_off(), name.as_bytes());
            named && has_member(raw, t, member)
        })
    }

    pub(crate) fn has_any_member(&self, member: &str) -> bool {
        self.any(|raw, t| {
            matches!(t.kind, Kind::Struct | Kind::Union) && has_member(raw, t, member)
        })
    }

    pub(crate) fn has_enum_value(&self, name: &str) -> bool {
        self.any(|raw, t| {
            matches!(t.kind, Kind::Enum | Kind::Enum64)
                && t.name_words()
                    .into_iter()
                    .skip(1)
                    .any(|at| raw.is_named(t.word(at), name.as_bytes()))
        })
    }

    /// The names of this enum's values. Those of the running kernel are looked up once per process.
    pub(crate) fn enum_values(&self, name: &str) -> Arc<BTreeSet<Vec<u8>>> {
        let known = sys::once_per_kernel!(EnumValues, EnumValues::new(BTreeMap::new()));
        let values = || Some(Arc::new(enum_values(self.raw().ok()?, name)));
        if !self.kernel.is_running {
            return values().unwrap_or_default();
        }
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(values) = known.get(name) {
            return Arc::clone(values);
        }
        let values = values();
        known.extend(values.clone().map(|values| (name.to_owned(), values)));
        values.unwrap_or_default()
    }

    /// Whether all types can be read, so that a type that is not found does not exist.
    pub(crate) fn is_whole(&self) -> bool {
        self.raw().is_ok_and(|raw| raw.check().is_ok())
    }

    fn any(&self, is_it: impl Fn(&Raw, &Type<'_>) -> bool) -> bool {
        self.raw()
            .is_ok_and(|raw| raw.types().any(|t| is_it(raw, &t)))
    }
}

/// The values of enums, by the name of the enum.
type EnumValues = Mutex<BTreeMap<String, Arc<BTreeSet<Vec<u8>>>>>;

fn enum_values(raw: &Raw, name: &str) -> BTreeSet<Vec<u8>> {
    let is_it = |t: &Type<'_>| {
        matches!(t.kind, Kind::Enum | Kind::Enum64) && raw.is_named(t.name_off(), name.as_bytes())
    };
    let values = raw.types().filter(is_it).flat_map(|t| {
        let names = t.name_words().into_iter().skip(1);
        names.filter_map(move |at| raw.string(t.word(at)).map(<[u8]>::to_vec))
    });
    values.collect()
}

/// Fails for types of the other byte order.
fn is_native(endianness: Endianness) -> Result<(), BtfError> {
    if endianness == Endianness::default() {
        return Ok(());
    }
    Err(BtfError::Malformed {
        what: "it is said to be of the other byte order".to_owned(),
    })
}

fn has_member(raw: &Raw, t: &Type<'_>, member: &str) -> bool {
    t.members()
        .any(|(off, _)| raw.is_named(off, member.as_bytes()))
}
