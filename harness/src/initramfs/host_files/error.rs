//! Errors of copying host files into the VM.

use std::{io, path::PathBuf};

/// The limit for all files together, which need the VM's memory.
pub(super) const LIMIT: u64 = 1 << 30;

/// Why a file cannot be copied into the VM.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// There is no such program.
    #[error("`{0}` is not found: name a program by its path, or one on PATH")]
    NotFound(String),
    /// The file is not a program for this machine.
    #[error("`{path}` cannot be run: {why}")]
    NotExecutable {
        /// The file.
        path: String,
        /// The reason.
        why: String,
    },
    /// A file cannot be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The file.
        path: String,
        /// The error of the system.
        error: io::Error,
    },
    /// The VM mounts another file system there.
    #[error(
        "{0} cannot be copied into the VM, which mounts its own /dev, /proc and /sys: name another PLACE"
    )]
    Hidden(String),
    /// The path is not UTF-8.
    #[error("{0:?} cannot be copied into the VM: its path is not UTF-8")]
    Name(PathBuf),
    /// The files are too large.
    #[error("the program's files are larger than {} MiB together, the limit for the VM's memory", LIMIT >> 20)]
    TooLarge,
}
