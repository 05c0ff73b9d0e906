//! Errors about maps.

use std::io;
use std::path::PathBuf;

use super::hints::pin_hint;
use crate::compat;
use crate::feature::Unsupported;
use crate::kernel_version::KernelVersion;

/// Why a map could not be created, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// The map has another type than the view.
    #[error("map `{name}` is of type {found}, not {expected}")]
    UnexpectedMapType {
        /// The map.
        name: String,
        /// The type asked for.
        expected: &'static str,
        /// The type it has.
        found: String,
    },

    /// The Rust type of a key or value has another size than the map's.
    #[error("map `{name}`: its {what} has {expected} bytes, the type asked for has {found}")]
    SizeMismatch {
        /// The map.
        name: String,
        /// `key` or `value`.
        what: &'static str,
        /// Bytes in the map.
        expected: usize,
        /// Bytes of the type.
        found: usize,
    },

    /// The kernel refused to create the map.
    #[error("cannot create map `{name}` ({definition}): {io_error}{hint}")]
    CreateError {
        /// The map.
        name: String,
        /// Its type and sizes.
        definition: String,
        /// What to do.
        hint: String,
        /// What `bpf(2)` returned.
        io_error: io::Error,
    },

    /// A map that replaces the object's has another definition.
    #[error("map `{name}` takes {expected}; {place} has {found}")]
    DefinitionMismatch {
        /// The map.
        name: String,
        /// What replaces it.
        place: String,
        /// What the object defines.
        expected: String,
        /// What is there.
        found: String,
    },

    /// The running kernel lacks the map's type.
    #[error(
        "map `{name}` is of type {kind}, {}",
        why_missing(kind, *minimum, *running)
    )]
    UnsupportedType {
        /// The map.
        name: String,
        /// Its type.
        kind: &'static str,
        /// The first release that has it.
        minimum: KernelVersion,
        /// The running kernel.
        running: KernelVersion,
    },

    /// The map could not be pinned, or no map could be opened at that path.
    #[error("map `{name}` at {}: {io_error}{}", path.display(), pin_hint(io_error))]
    Pin {
        /// The map; empty when a pin was opened.
        name: String,
        /// The name in the BPF file system.
        path: PathBuf,
        /// Why.
        io_error: io::Error,
    },

    /// This process already has a reader of the ring buffer, made from this or another handle.
    #[error("map `{name}` has a reader in this process already; drop that one first")]
    InUse {
        /// The map.
        name: String,
    },

    /// The map's keys were removed faster than they could be listed.
    #[error("map `{name}` changes faster than it can be listed; try again")]
    IterationLimit {
        /// The map.
        name: String,
    },

    /// There is no such element.
    #[error("map `{name}` has no such element")]
    KeyNotFound {
        /// The map.
        name: String,
    },

    /// No map of that name.
    #[error("the object has no map `{name}`; it has {known}")]
    UnknownMap {
        /// The name.
        name: String,
        /// Those that exist.
        known: String,
    },

    /// No global variable of that name.
    #[error("the object has no global variable `{name}`; it has {known}")]
    UnknownGlobal {
        /// The name.
        name: String,
        /// Those that exist.
        known: String,
    },

    /// The variable lies in `.rodata`, which is frozen once a program is loaded.
    #[error("`{name}` is constant: set it before load, with `EbpfLoader::set_global`")]
    ReadOnly {
        /// The variable.
        name: String,
    },

    /// The running kernel lacks the map type.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),

    /// Another call failed.
    #[error("map `{name}`: `{call}` failed: {io_error}")]
    SyscallError {
        /// The map.
        name: String,
        /// The call.
        call: &'static str,
        /// What it returned.
        io_error: io::Error,
    },
}

impl MapError {
    /// The refusal in it, if the running kernel lacks a feature.
    pub fn unsupported(&self) -> Option<&Unsupported> {
        match self {
            Self::Unsupported(refusal) => Some(refusal),
            _ => None,
        }
    }
}

/// The second half of the message that a kernel lacks a map type.
fn why_missing(kind: &str, minimum: KernelVersion, running: KernelVersion) -> String {
    if running < minimum {
        return format!("which exists from Linux {minimum} on; this is {running}");
    }
    let options = compat::options_of_map_type(kind);
    let options: Vec<_> = options
        .iter()
        .map(|name| format!("CONFIG_{name}"))
        .collect();
    match options.is_empty() {
        true => format!("which this kernel, {running}, was built without"),
        false => format!(
            "which this kernel, {running}, was built without ({})",
            options.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_is_too_old_or_was_built_without() {
        let why = |(major, minor, patch)| {
            let running = KernelVersion::new(major, minor, patch);
            why_missing("inode_storage", KernelVersion::new(5, 10, 0), running)
        };
        assert_eq!(
            why((4, 18, 0)),
            "which exists from Linux 5.10 on; this is 4.18"
        );
        assert_eq!(
            why((5, 10, 2)),
            "which this kernel, 5.10.2, was built without (CONFIG_BPF_LSM)"
        );
    }
}
