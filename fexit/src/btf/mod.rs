//! BTF of the kernel, of its modules and of loaded programs: names to type ids.

pub(crate) mod access;
pub(crate) mod core;
mod explain;
mod function;
mod nearest;
pub(crate) mod raw;
mod symbols;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use raw::{Kind, Raw};
use symbols::Symbols;

pub(crate) use function::{FunctionId, describe};

/// Where the kernel shows its BTF, and that of its modules beside it.
const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";
const MODULE_BTF: &str = "/sys/kernel/btf";

/// Why BTF could not be had, or does not hold what was looked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BtfError {
    /// The kernel shows no BTF. Nothing can be attached by this library without it.
    #[error(
        "this kernel shows no BTF ({KERNEL_BTF} is missing): run one built with \
         CONFIG_DEBUG_INFO_BTF=y, and mount sysfs"
    )]
    NoKernelBtf,

    /// A file with BTF could not be read.
    #[error("cannot read BTF from {}", path.display())]
    FileError {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },

    /// The bytes are not BTF.
    #[error("malformed BTF: {what}")]
    Malformed {
        /// What is wrong with them.
        what: String,
    },

    /// No function has this name.
    #[error(
        "no function `{type_name}` in the BTF of {scope}: {reason}{}",
        did_you_mean(nearest)
    )]
    UnknownBtfTypeName {
        /// The name.
        type_name: String,
        /// Whose BTF: `the kernel`, `module nf_conntrack`, ...
        scope: String,
        /// Why it is likely not there.
        reason: String,
        /// Names that are there and look like it, best first.
        nearest: Vec<String>,
    },

    /// Several functions have this name.
    #[error(
        "`{name}` names {} functions, and the kernel cannot be told which: {}; choose another target",
        candidates.len(), candidates.join("; ")
    )]
    AmbiguousName {
        /// The name.
        name: String,
        /// Each function: where it is and what it takes.
        candidates: Vec<String>,
    },

    /// No loaded module has this name.
    #[error("module `{name}` has no BTF in {MODULE_BTF}: {reason}")]
    UnknownModule {
        /// The name.
        name: String,
        /// What to do.
        reason: String,
    },
}

impl BtfError {
    pub(crate) fn is_permission(&self) -> bool {
        matches!(self, Self::FileError { error, .. } if error.raw_os_error() == Some(libc::EPERM))
    }
}

fn did_you_mean(nearest: &[String]) -> String {
    if nearest.is_empty() {
        String::new()
    } else {
        format!("; the nearest names are {}", nearest.join(", "))
    }
}

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
    kernel: Arc<Kernel>,
}

struct Kernel {
    raw: Raw,
    /// Read when BTF does not tell enough.
    symbols: OnceLock<Symbols>,
}

/// The types themselves would be megabytes.
impl fmt::Debug for Btf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Btf")
            .field("bytes", &self.raw().bytes().len())
            .finish_non_exhaustive()
    }
}

impl From<Raw> for Btf {
    fn from(raw: Raw) -> Self {
        let symbols = OnceLock::new();
        Self {
            kernel: Arc::new(Kernel { raw, symbols }),
        }
    }
}

impl Btf {
    /// Reads the running kernel's BTF from `/sys/kernel/btf/vmlinux`.
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
        match Self::parse_file(KERNEL_BTF) {
            Err(BtfError::FileError { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                Err(BtfError::NoKernelBtf)
            }
            other => other,
        }
    }

    /// Reads BTF from a file that holds nothing else, as those in `/sys/kernel/btf` and as `pahole` writes them.
    ///
    /// # Errors
    ///
    /// [`BtfError::FileError`] when the file cannot be read, [`BtfError::Malformed`] when it is not BTF.
    pub fn parse_file<P: AsRef<Path>>(path: P) -> Result<Self, BtfError> {
        let path = path.as_ref();
        let data = fs::read(path).map_err(|error| BtfError::FileError {
            path: path.to_owned(),
            error,
        })?;
        Ok(Self::from(Raw::parse(data)?))
    }

    /// Reads BTF from memory, checking every record.
    ///
    /// # Errors
    ///
    /// [`BtfError::Malformed`] when it is not BTF, of the other byte order, or cut off.
    pub fn parse(data: &[u8]) -> Result<Self, BtfError> {
        let raw = Raw::parse(data.to_vec())?;
        raw.check()?;
        Ok(Self::from(raw))
    }

    pub(crate) fn raw(&self) -> &Raw {
        &self.kernel.raw
    }

    fn symbols(&self) -> &Symbols {
        self.kernel.symbols.get_or_init(Symbols::read)
    }

    /// The modules that have a function of this name, whether or not their BTF is shown.
    pub(crate) fn modules_with(name: &str) -> Vec<String> {
        let mut modules: Vec<String> = symbols::in_modules(name)
            .into_iter()
            .map(|(module, _)| module)
            .collect();
        modules.dedup();
        modules
    }

    /// The type id of the kernel's function of this name.
    pub(crate) fn function_id(&self, name: &str) -> Option<u32> {
        let raw = self.raw();
        let named =
            |t: &raw::Type<'_>| t.kind == Kind::Func && raw.is_named(t.name_off(), name.as_bytes());
        raw.types().find(named).map(|t| t.id)
    }

    /// Whether the kernel itself, not a module, has a function of this name in its BTF.
    pub fn has_function(&self, name: &str) -> bool {
        self.has_named(Kind::Func, name)
    }

    pub(crate) fn has_struct(&self, name: &str) -> bool {
        self.has_named(Kind::Struct, name)
    }

    fn has_named(&self, kind: Kind, name: &str) -> bool {
        let raw = self.raw();
        raw.types()
            .any(|t| t.kind == kind && raw.is_named(t.name_off(), name.as_bytes()))
    }

    pub(crate) fn has_member(&self, name: &str, member: &str) -> bool {
        let raw = self.raw();
        raw.types()
            .filter(|t| t.kind == Kind::Struct && raw.is_named(t.name_off(), name.as_bytes()))
            .any(|t| {
                t.members()
                    .any(|(off, _)| raw.is_named(off, member.as_bytes()))
            })
    }

    pub(crate) fn has_any_member(&self, member: &str) -> bool {
        let raw = self.raw();
        let holds = |t: &raw::Type<'_>| matches!(t.kind, Kind::Struct | Kind::Union);
        raw.types().filter(holds).any(|t| {
            t.members()
                .any(|(off, _)| raw.is_named(off, member.as_bytes()))
        })
    }

    pub(crate) fn has_enum_value(&self, name: &str) -> bool {
        let raw = self.raw();
        raw.types().any(|t| {
            matches!(t.kind, Kind::Enum | Kind::Enum64)
                && t.name_words()
                    .into_iter()
                    .skip(1)
                    .any(|at| raw.is_named(t.word(at), name.as_bytes()))
        })
    }
}
