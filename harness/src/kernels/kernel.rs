//! A kernel on disk.

use std::path::PathBuf;

use crate::kernels::source::Source;

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
    /// SHA-256 of the image, in hexadecimal.
    pub sha256: String,
    /// The folder of its modules (`.../lib/modules/RELEASE`). There need not be a `modules.dep` in it:
    /// [`crate::kernels::files::modules::closure`] does without.
    pub modules: Option<PathBuf>,
    /// The configuration it was built with.
    pub config: Option<PathBuf>,
    /// Where it came from and what vouches for it.
    pub source: Source,
}
