//! From what the user calls a kernel (`5.10`) to verified files on disk.
//!
//! The way down, each step vouching for the next: a key in `kernels/keys`, the signature of an archive's release
//! file, the checksum of its package index, the checksum of a package. The lock file (`kernels/kernels.lock`) is a
//! short cut to the last step: it records what was verified when it was written.
//!
//! Where nobody publishes a kernel ready for fexit, [`build`] makes one of a release that is vouched for in the same way.

pub mod build;
pub(crate) mod cache;
pub mod commands;
mod debian;
mod fetch;
mod http;
mod image;
mod keys;
pub mod local;
mod lock;
mod manifest;
mod matrix;
mod mirrors;
pub mod modules;
mod openpgp;
mod progress;
mod request;
mod resolve;
mod source;
mod store;
mod ubuntu;
mod unpack;
mod url;
mod vmlinux;

use std::path::PathBuf;

pub use http::Patience;
pub use progress::{Progress, Silent};
pub use source::{Artifact, Build, Kind, Resolved, Source};
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
