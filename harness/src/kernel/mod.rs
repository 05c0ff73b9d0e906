//! From what the user calls a kernel (`5.10`) to verified files on disk.

use std::path::PathBuf;

/// A kernel that is ready to boot.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// What the user asked for.
    pub requested: String,
    /// `uname -r` of this kernel, as its image says.
    pub release: String,
    /// The upstream version, as `5.10.262`.
    pub version: String,
    /// The bzImage.
    pub image: PathBuf,
    /// The folder that holds `modules.dep` (`.../lib/modules/RELEASE`).
    pub modules: Option<PathBuf>,
}
