//! Why something cannot be brought along.

use std::{io, path::PathBuf};

/// All files together may not be larger: they go through the VM's memory.
pub(super) const LIMIT: u64 = 1 << 30;

/// Why something cannot be brought along.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// There is no such program.
    #[error("`{0}` is not found: give the path of a program, or the name of one on PATH")]
    NotFound(String),
    /// It is there, and nothing that can be run.
    #[error("`{path}` cannot be run: {why}")]
    NotExecutable {
        /// Which file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file cannot be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// The VM would not see it.
    #[error(
        "{0} cannot be copied into the VM: /dev, /proc and /sys are the VM's own. Give it another place"
    )]
    Hidden(String),
    /// A path is not Unicode.
    #[error("{0:?} cannot be copied into the VM: its path is not UTF-8")]
    Name(PathBuf),
    /// It is too much.
    #[error("the program's files are larger than {} MiB together, and all go through the VM's memory", LIMIT >> 20)]
    TooLarge,
}
