//! Boots real kernels in QEMU, runs fexit scenarios inside, and reports what it saw.

pub mod error;
pub mod image;
pub mod kernel;
pub mod vm;
