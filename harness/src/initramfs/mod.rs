//! Stage 2: everything that a VM has for a disk.

pub mod bpf_objects;
pub mod cpio;
pub mod host_files;
pub mod job;
pub(crate) mod kernel_config;
