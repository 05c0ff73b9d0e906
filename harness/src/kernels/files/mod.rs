//! The files of a kernel: its image, its modules, and the checksums of all.

mod format;
pub(crate) mod image;
pub(crate) mod manifest;
pub mod modules;
pub(crate) mod payload;
pub(crate) mod symbols;
