//! The files of a kernel: its image, its debug image, its modules.

pub(crate) mod bzimage;
pub mod modules;
pub(crate) mod vmlinux;
