//! One file or folder for each subcommand.

pub mod build;
pub mod cache;
pub mod completions;
pub mod exec;
pub mod functions;
pub mod inspect;
mod kernel_files;
pub mod kernel_table;
pub mod kernels;
pub mod list;
pub mod man;
pub mod minimum;
pub mod reports;
pub mod run;
pub mod veristat;
