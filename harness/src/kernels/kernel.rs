//! A kernel on disk.

use std::path::PathBuf;

use crate::kernels::arch::Arch;
use crate::kernels::source::Source;

/// A kernel that is ready to boot.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// The name that the user gave.
    pub requested: String,
    /// Its architecture, from its image.
    pub arch: Arch,
    /// `uname -r` of this kernel, from its image.
    pub release: String,
    /// The upstream version, as `5.10.262`.
    pub version: String,
    /// Its image, as it was published: a bzImage, or an Image of arm64.
    pub image: PathBuf,
    /// SHA-256 of the image, in hexadecimal.
    pub sha256: String,
    /// The folder of its modules (`.../lib/modules/RELEASE`). It needs no `modules.dep`:
    /// [`crate::kernels::files::modules::closure`] reads the modules.
    pub modules: Option<PathBuf>,
    /// The configuration that it was built with.
    pub config: Option<PathBuf>,
    /// Its source, and what verified it.
    pub source: Source,
}
