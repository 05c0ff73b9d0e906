//! From what the user calls a kernel (`5.10`) to verified files on disk.
//!
//! Each step verifies the next: a key in `kernels/keys`, the signature of an archive's release
//! file, the checksum of its package index, the checksum of a package. The lock file (`kernels/kernels.lock`) is a
//! shortcut to the last step: it records the checksums that were verified when it was written.
//!
//! Where no distribution has packages of a kernel with fexit, [`build`] builds one from a release that is verified in the
//! same way.

pub(crate) mod arch;
pub mod build;
pub(crate) mod cache;
pub(crate) mod catalog;
pub(crate) mod download;
mod fetch;
pub mod files;
mod images;
pub mod kernel;
pub mod operations;
pub(crate) mod range;
mod resolve;
pub(crate) mod source;
pub mod sources;
mod store;
pub(crate) mod trust;
mod types;
mod uncompressed;
pub(crate) mod version;

pub use crate::kernels::arch::Arch;
pub use crate::kernels::download::retry::Patience;
pub use crate::kernels::source::{Artifact, Build, Kind, Resolved, Source, Tree};
pub use crate::support::progress::{Progress, Silent};
pub use kernel::Kernel;
pub use store::{Kernels, Options};
pub use types::of_module;
