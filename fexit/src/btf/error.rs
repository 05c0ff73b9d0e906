//! Why BTF cannot be read, or has no such function, tracepoint or module.

use std::io;
use std::path::PathBuf;

/// The kernel's BTF; the BTF of its modules is in the same folder.
pub(super) const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";
pub(super) const MODULE_BTF: &str = "/sys/kernel/btf";

/// The prefix of a tracepoint's type: `btf_trace_sched_switch`.
pub(super) const TRACEPOINT: &str = "btf_trace_";

/// Why BTF cannot be read, or has no such function, tracepoint or module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BtfError {
    /// The kernel has no BTF, which this library requires.
    #[error(
        "this kernel has no BTF ({KERNEL_BTF} is missing): run one built with \
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

    /// The BTF has a type of a kind that is newer than this version of the library, and no layout section that tells
    /// its size. The types after it cannot be read.
    #[error(
        "type {type_id} of the BTF is of kind {kind}, which this version of the library does not know, and no layout \
         section tells its size, so what follows cannot be read: update the crate `fexit`"
    )]
    UnknownKind {
        /// The number of the kind, `BTF_KIND_*`.
        kind: u32,
        /// The first type of it.
        type_id: u32,
    },

    /// No function, or no tracepoint, has this name.
    #[error(
        "no {} `{type_name}` in the BTF of {scope}: {reason}{}",
        if type_name.starts_with(TRACEPOINT) { "tracepoint" } else { "function" },
        did_you_mean(suggestions)
    )]
    UnknownBtfTypeName {
        /// The name.
        type_name: String,
        /// Whose BTF: `the kernel`, `module nf_conntrack`, ...
        scope: String,
        /// The probable reason.
        reason: String,
        /// Similar names that exist, best first.
        suggestions: Vec<String>,
    },

    /// The name is ambiguous: several functions have it.
    #[error(
        "`{name}` names {} functions, and the kernel cannot be told which: {}; choose another target",
        candidates.len(), candidates.join("; ")
    )]
    AmbiguousName {
        /// The name.
        name: String,
        /// Each function with its place and signature.
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
        matches!(self, Self::FileError { error, .. } if error.kind() == io::ErrorKind::PermissionDenied)
    }
}

fn did_you_mean(suggestions: &[String]) -> String {
    if suggestions.is_empty() {
        String::new()
    } else {
        format!("; similar names are {}", suggestions.join(", "))
    }
}
