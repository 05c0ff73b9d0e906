//! Boots real kernels in QEMU, runs fexit scenarios inside, and reports what it saw.

pub mod cli;
pub mod commands;
pub mod initramfs;
pub mod kernels;
pub mod report;
pub mod session;
pub mod support;
pub mod vm;
