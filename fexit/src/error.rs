//! Every way in which this library fails, each with what to do about it.

use std::io;
use std::path::PathBuf;

use crate::btf::BtfError;
use crate::feature::Unsupported;
use crate::kernel_version::KernelVersion;
use crate::programs::PinnedLink;
use crate::sys::ENOTSUPP;

/// Why an object could not be made ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EbpfError {
    /// The object file could not be read.
    #[error("cannot read the object file {}", path.display())]
    FileError {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },

    /// The bytes are not an eBPF object, or a damaged one.
    #[error("not a usable eBPF object: {what}")]
    Malformed {
        /// What is wrong with them.
        what: String,
    },

    /// The parser refused the object.
    #[error("cannot parse the eBPF object: {}", chain(.0))]
    ParseError(#[source] Box<aya_obj::ParseError>),

    /// A global variable that must exist does not, or has another size.
    #[error("global variable `{name}`: {what}")]
    Global {
        /// Its name in the source.
        name: String,
        /// What is wrong.
        what: String,
    },

    /// A map that was given to the loader does not exist in the object, or cannot be used for it.
    #[error(transparent)]
    Map(#[from] MapError),
}

/// Why a program could not be loaded, attached, detached or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// The program is not loaded: call `load` first.
    #[error("the program is not loaded; call `load` first")]
    NotLoaded,

    /// The program is loaded already: call `unload` first to load it anew.
    #[error("the program is already loaded; call `unload` first to load it anew")]
    AlreadyLoaded,

    /// The program is attached already: one loaded program has one attachment.
    #[error(
        "the program is already attached; detach that link (or drop it, if it was taken) first"
    )]
    AlreadyAttached,

    /// The link id names no link of this program: it was detached, taken, unloaded, or is another program's.
    #[error("no such link: it was detached or unloaded already, or belongs to another program")]
    NotAttached,

    /// The program in the object is of another kind than the one that was asked for.
    #[error("program `{name}` is of kind `{found}`, not `{expected}`")]
    UnexpectedProgramType {
        /// The program.
        name: String,
        /// The kind asked for.
        expected: &'static str,
        /// The kind that its section says.
        found: String,
    },

    /// The section names no target and `load` was given none.
    #[error(
        "section `{section}` names no target: give one to `load`, or write SEC(\"fexit/FUNCTION\")"
    )]
    NoTarget {
        /// The program's section.
        section: String,
    },

    /// The target's BTF.
    #[error(transparent)]
    Btf(#[from] BtfError),

    /// The target program cannot be traced.
    #[error("the target program cannot be traced: {reason}")]
    TargetProgram {
        /// Why, and what to do.
        reason: String,
    },

    /// The kernel refused the function as a target.
    #[error("the kernel refuses `{target}` as a target: {reason}")]
    TargetRefused {
        /// The target.
        target: String,
        /// Why, and what to do.
        reason: String,
    },

    /// The verifier refused the program.
    #[error(
        "the kernel refused to load program `{name}`: {io_error}{}",
        why_refused(io_error, verifier_log)
    )]
    LoadError {
        /// The program.
        name: String,
        /// What `bpf(2)` returned.
        #[source]
        io_error: io::Error,
        /// The whole log of the verifier.
        verifier_log: String,
    },

    /// The object's relocations could not be applied.
    #[error("cannot relocate the object: {reason}")]
    Relocation {
        /// Why.
        reason: String,
    },

    /// The kernel refused to attach.
    #[error("cannot attach program `{name}`: {reason}")]
    AttachError {
        /// The program.
        name: String,
        /// Why, and what to do.
        reason: String,
        /// What `bpf(2)` returned.
        #[source]
        io_error: io::Error,
    },

    /// The process may not do this.
    #[error("not permitted to {action}: {missing}")]
    Permission {
        /// What was tried.
        action: &'static str,
        /// What is missing.
        missing: String,
    },

    /// The program could not be pinned, or nothing could be opened under that name.
    #[error("program at {}: {io_error}{}", path.display(), pin_hint(io_error))]
    Pin {
        /// The name.
        path: PathBuf,
        /// Why.
        #[source]
        io_error: io::Error,
    },

    /// A map that the program uses could not be created.
    #[error(transparent)]
    Map(#[from] MapError),

    /// The running kernel lacks a feature.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),

    /// Another call failed.
    #[error("`{call}` failed: {io_error}")]
    SyscallError {
        /// The call.
        call: &'static str,
        /// What it returned.
        #[source]
        io_error: io::Error,
    },
}

/// Why a map could not be created, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// The map is of another type than the one that was asked for.
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
        #[source]
        io_error: io::Error,
    },

    /// A map that stands in the place of the object's is of another kind.
    #[error("map `{name}` takes {wanted}; {place} has {found}")]
    Different {
        /// The map.
        name: String,
        /// What stands in its place.
        place: String,
        /// What the object defines.
        wanted: String,
        /// What is there.
        found: String,
    },

    /// The running kernel lacks the map's type.
    #[error(
        "map `{name}` is of type {kind}, which exists from Linux {minimum} on; this is {running}"
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

    /// The map could not be pinned, or nothing could be opened under that name.
    #[error("map `{name}` at {}: {io_error}{}", path.display(), pin_hint(io_error))]
    Pin {
        /// The map; empty when it was to be found out.
        name: String,
        /// The name in the BPF file system.
        path: PathBuf,
        /// Why.
        #[source]
        io_error: io::Error,
    },

    /// The ring buffer has a reader already.
    #[error("map `{name}` has a reader already; drop that one first")]
    InUse {
        /// The map.
        name: String,
    },

    /// The map's keys were removed faster than they could be listed.
    #[error("map `{name}` changes faster than it can be listed; try again")]
    Restless {
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
        #[source]
        io_error: io::Error,
    },
}

/// Why a link could not be pinned, found or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The link could not be pinned, or nothing could be opened under that name.
    #[error("link at {}: {error}{}", path.display(), pin_hint(error))]
    Pin {
        /// The name.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },

    /// The pin could not be removed; the link is as it was.
    #[error("the pin at {} stays: {error}", pinned.path().display())]
    Unpin {
        /// The link, to try again or to keep.
        pinned: Box<PinnedLink>,
        /// Why.
        #[source]
        error: io::Error,
    },

    /// What is pinned there is no fexit link.
    #[error("{} holds {found}, not an fexit link", path.display())]
    WrongObject {
        /// The name.
        path: PathBuf,
        /// What is there.
        found: String,
    },

    /// The running kernel lacks a feature.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),

    /// Another call failed.
    #[error("`{call}` failed: {error}")]
    SyscallError {
        /// The call.
        call: &'static str,
        /// What it returned.
        #[source]
        error: io::Error,
    },
}

impl LinkError {
    /// The refusal in it, if the running kernel lacks a feature.
    pub fn unsupported(&self) -> Option<&Unsupported> {
        match self {
            Self::Unsupported(refusal) => Some(refusal),
            _ => None,
        }
    }
}

impl ProgramError {
    /// The refusal in it, if the running kernel lacks a feature.
    pub fn unsupported(&self) -> Option<&Unsupported> {
        match self {
            Self::Unsupported(refusal) | Self::Map(MapError::Unsupported(refusal)) => Some(refusal),
            _ => None,
        }
    }
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

/// An error and its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// What to do when a name in a BPF file system cannot be made or opened.
fn pin_hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EEXIST) => "; choose a free name, or remove what is there",
        Some(libc::ENOENT) => "; nothing is pinned under that name, or its folder does not exist",
        Some(libc::EACCES) => "; it is no object of BPF, or its file permissions forbid it",
        Some(libc::EPERM) => {
            "; pins live in a BPF file system (mount -t bpf bpf /sys/fs/bpf), and take CAP_BPF or root"
        }
        _ => "",
    }
}

/// The lines of a verifier log that say why: the last ones, without source lines and figures.
fn log_tail(log: &str) -> String {
    const LINES: usize = 3;
    const OTHER: [&str; 5] = [
        ";",
        "processed ",
        "verification time",
        "stack depth",
        "peak_states",
    ];
    let tells =
        |line: &&str| !line.is_empty() && !OTHER.iter().any(|start| line.starts_with(start));
    let lines: Vec<&str> = log.lines().filter(tells).collect();
    let tail = &lines[lines.len().saturating_sub(LINES)..];
    tail.join(" | ")
}

/// What the verifier says, or if that is nothing, what its error stands for.
fn why_refused(error: &io::Error, log: &str) -> String {
    let tail = log_tail(log);
    if !tail.is_empty() {
        return format!("; the verifier says: {tail}");
    }
    let meaning = match error.raw_os_error() {
        Some(libc::EINVAL) => {
            "most likely this kernel does not know a kind of program, a target or a flag that it needs"
        }
        Some(libc::E2BIG) => {
            "it has more instructions than are allowed, or uses what this kernel does not know"
        }
        Some(libc::ENOMEM) => "the kernel has no memory for it",
        Some(ENOTSUPP) => {
            "the JIT compiler is off (`sysctl net.core.bpf_jit_enable=1`), or cannot compile it"
        }
        _ => return String::new(),
    };
    format!("; the verifier says nothing: {meaning}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_verifier_log_is_part_of_the_message() {
        let error = ProgramError::LoadError {
            name: "p".into(),
            io_error: io::Error::from_raw_os_error(libc::EACCES),
            verifier_log:
                "0: (b7) r0 = 1\n1: (79) r1 = *(u64 *)(r1 +80)\ninvalid bpf_context access \
                           off=80 size=8\nprocessed 2 insns (limit 1000000)\n"
                    .into(),
        };
        let text = error.to_string();
        assert!(
            text.contains("program `p`") && text.contains("Permission denied"),
            "{text}"
        );
        assert!(
            text.contains("invalid bpf_context access off=80 size=8"),
            "{text}"
        );
        assert!(!text.contains("processed"), "{text}");
    }

    #[test]
    fn where_the_verifier_is_silent_the_error_is_explained() {
        let silent = |errno| ProgramError::LoadError {
            name: "p".into(),
            io_error: io::Error::from_raw_os_error(errno),
            verifier_log: "processed 0 insns (limit 1000000)\n".into(),
        };
        assert!(silent(ENOTSUPP).to_string().contains("bpf_jit_enable"));
        assert!(silent(libc::EINVAL).to_string().contains("does not know"));
        assert!(silent(libc::EIO).to_string().ends_with("(os error 5)"));
    }

    #[test]
    fn a_refusal_is_found_wherever_it_is_wrapped() {
        let refusal = crate::Feature::RingBuf.unsupported();
        let error = ProgramError::Map(MapError::Unsupported(refusal));
        assert_eq!(error.unsupported(), Some(&refusal));
        assert_eq!(ProgramError::NotLoaded.unsupported(), None);
    }
}
