//! Boots real kernels in QEMU, runs fexit scenarios in them, and reports the results.

pub mod cli;
pub mod commands;
pub mod config;
pub mod initramfs;
pub mod kernels;
pub mod report;
pub mod session;
pub mod support;
pub mod vm;
