//! The errors of this library: what failed, on what, why, and what to do.

mod hints;
mod map;
mod verifier_log;

use std::io;
use std::path::PathBuf;

use crate::btf::BtfError;
use crate::btf::core_spec::CoreRelocationInfo;
use crate::compat::{Helper, TooNew};
use crate::feature::Unsupported;
use crate::kernel_version::KernelVersion;

pub(crate) use hints::pin_hint;
use hints::{list, quoted, why_refused};
pub use map::MapError;

/// Why an object could not be parsed or relocated.
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
    #[error("cannot parse the eBPF object: {reason}")]
    ParseError {
        /// What the parser said.
        reason: String,
    },

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

/// Why a program could not be loaded, attached, detached or queried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// The program is not loaded: call `load` first.
    #[error("the program is not loaded; call `load` first")]
    NotLoaded,

    /// The program is loaded already: call `unload` first to load it again.
    #[error("the program is already loaded; call `unload` first to load it again")]
    AlreadyLoaded,

    /// The program is attached already: one loaded program has one attachment.
    #[error(
        "the program is already attached; detach that link (or drop it, if it was taken) first"
    )]
    AlreadyAttached,

    /// The program has no link with this id: it was detached, taken or unloaded, or belongs to another program.
    #[error("no such link: it was detached or unloaded already, or belongs to another program")]
    NotAttached,

    /// The program in the object is of another type than the one asked for.
    #[error("program `{name}` is of type `{found}`, not `{expected}`")]
    UnexpectedProgramType {
        /// The program.
        name: String,
        /// The type asked for.
        expected: &'static str,
        /// The type that its section says.
        found: String,
    },

    /// The program cannot be loaded by itself, or its section has no type that this library knows.
    #[error("program `{name}` of section `{section}` cannot be loaded: {reason}")]
    NotLoadable {
        /// The program.
        name: String,
        /// Its section.
        section: String,
        /// Why.
        reason: &'static str,
    },

    /// No variable of the object sets a member of a struct to the program of type `struct_ops`, so it implements nothing.
    #[error(
        "program `{name}` of section `{section}` implements nothing: no variable in `.struct_ops` or `.struct_ops.link` \
         names it; set a member of one to it"
    )]
    UnusedStructOps {
        /// The program.
        name: String,
        /// Its section.
        section: String,
    },

    /// The kernel lacks the struct or the member that the program of type `struct_ops` implements.
    #[error(
        "program `{name}` is for `{member}`, which this kernel does not let programs implement: {reason}"
    )]
    StructOps {
        /// The program.
        name: String,
        /// The struct and its member, as `tcp_congestion_ops.init`.
        member: String,
        /// Why.
        reason: String,
    },

    /// The section names no target and `load` was given none.
    #[error(
        "section `{section}` names no target: give one to `load`, or write SEC(\"{}/NAME\")",
        section.trim_end_matches('/')
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
        io_error: io::Error,
        /// The whole log of the verifier.
        verifier_log: String,
    },

    /// The program reads a type or field that neither the kernel nor a loaded module with BTF (5.11) has.
    #[error(
        "program `{name}` reads {}, which neither this kernel nor the BTF of a loaded module has; ask before, with \
         `bpf_core_field_exists` or its like, or choose another",
        quoted(missing)
    )]
    UnresolvedCoreRelocation {
        /// The program.
        name: String,
        /// What is not there.
        missing: Vec<CoreRelocationInfo>,
    },

    /// The program calls a helper that this kernel does not offer to fexit programs.
    #[error(
        "program `{name}` calls bpf_{}, which {} (this kernel is {running})",
        helper.name,
        match helper.fexit_until {
            Some(until) => format!("fexit programs may from Linux {} to before {until}", helper.minimum),
            None if helper.for_fexit => format!("fexit programs may from Linux {} on", helper.minimum),
            None => "fexit programs may on no kernel".to_owned(),
        }
    )]
    UnknownHelper {
        /// The program.
        name: String,
        /// The helper.
        helper: Helper,
        /// The running kernel.
        running: KernelVersion,
    },

    /// The program uses helpers or instructions that came with a later kernel.
    #[error(
        "program `{name}` uses {}, which this kernel ({running}) does not have",
        list(too_new)
    )]
    TooNew {
        /// The program.
        name: String,
        /// What the kernel does not have, the newest first.
        too_new: Vec<TooNew>,
        /// The running kernel.
        running: KernelVersion,
    },

    /// The program calls a helper that reads or writes memory, which the kernel's lockdown forbids.
    #[error(
        "program `{name}` calls bpf_{}, which kernel lockdown forbids ({}); {}",
        helper.name,
        level.as_deref().map_or_else(
            || "most likely: /sys/kernel/security/lockdown cannot be read".to_owned(),
            |level| format!("its level is `{level}`"),
        ),
        if helper.name == "probe_write_user" {
            "boot with `lockdown=none`"
        } else {
            "boot with `lockdown=none` or `lockdown=integrity`, or read through typed pointers, which is not forbidden"
        }
    )]
    LockedDown {
        /// The program.
        name: String,
        /// The helper.
        helper: Helper,
        /// The level of lockdown, `integrity` or `confidentiality`; none if it cannot be read.
        level: Option<String>,
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
        io_error: io::Error,
    },
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_is_found_in_every_wrapping_error() {
        let refusal = crate::Feature::RingBuf.unsupported();
        let error = ProgramError::Map(MapError::Unsupported(refusal));
        assert_eq!(error.unsupported(), Some(&refusal));
        assert_eq!(ProgramError::NotLoaded.unsupported(), None);
    }

    #[test]
    fn io_error_is_printed_once_with_or_without_causes() {
        let io = || io::Error::from_raw_os_error(libc::EINVAL);
        let (path, name) = (PathBuf::from("/sys/fs/bpf/x"), "x".to_owned());
        let errors: [Box<dyn std::error::Error>; 7] = [
            Box::new(ProgramError::LoadError {
                name: name.clone(),
                io_error: io(),
                verifier_log: String::new(),
            }),
            Box::new(ProgramError::AttachError {
                name: name.clone(),
                reason: io().to_string(),
                io_error: io(),
            }),
            Box::new(ProgramError::Pin {
                path: path.clone(),
                io_error: io(),
            }),
            Box::new(MapError::CreateError {
                name: name.clone(),
                definition: String::new(),
                hint: String::new(),
                io_error: io(),
            }),
            Box::new(ProgramError::Map(MapError::SyscallError {
                name,
                call: "BPF_MAP_FREEZE",
                io_error: io(),
            })),
            Box::new(crate::programs::LinkError::Pin {
                path: path.clone(),
                error: io(),
            }),
            Box::new(EbpfError::FileError { path, error: io() }),
        ];
        for error in errors {
            let text = chain(error.as_ref());
            assert_eq!(text.matches("os error 22").count(), 1, "{text}");
        }
    }
}
