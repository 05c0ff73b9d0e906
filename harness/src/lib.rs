//! Boots real kernels in QEMU, runs fexit scenarios inside, and reports what it saw.

mod atomic;
pub mod build;
pub mod cache;
pub mod cli;
pub mod error;
pub mod exec;
pub mod image;
pub mod inspect;
pub mod interrupt;
pub mod kernel;
pub mod kernels;
pub mod list;
pub mod minimum;
pub mod objects;
pub mod plain;
pub mod program;
pub mod progress;
pub mod recipe;
pub mod report;
pub mod reports;
pub mod run;
pub mod summary;
pub mod vm;
