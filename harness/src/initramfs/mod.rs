//! Stage 2: the initramfs, which has all files of a VM.

pub mod bpf_objects;
pub mod cpio;
pub mod guest;
pub mod host_files;
pub mod job;
pub(crate) mod kernel_config;
