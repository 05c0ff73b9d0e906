//! From what the user calls a kernel (`5.10`) to verified files on disk.
//!
//! The way down, each step vouching for the next: a key in `kernels/keys`, the signature of an archive's release
//! file, the checksum of its package index, the checksum of a package. The lock file (`kernels/kernels.lock`) is a
//! short cut to the last step: it records what was verified when it was written.
//!
//! Where nobody publishes a kernel ready for fexit, [`build`] makes one of a release that is vouched for in the same way.

pub mod build;
pub(crate) mod cache;
pub(crate) mod catalog;
pub(crate) mod download;
mod fetch;
pub mod files;
pub mod operations;
mod resolve;
pub mod sources;
mod store;
pub(crate) mod trust;

use std::path::PathBuf;

pub use crate::kernels::catalog::source::{Artifact, Build, Kind, Resolved, Source};
pub use crate::kernels::download::http::Patience;
pub use crate::support::progress::{Progress, Silent};
pub use store::{Kernels, Options};

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
    /// [`modules::closure`] does without.
    pub modules: Option<PathBuf>,
    /// The configuration it was built with.
    pub config: Option<PathBuf>,
    /// Where it came from and what vouches for it.
    pub source: Source,
}
