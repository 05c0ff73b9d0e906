//! One file or folder for each subcommand.

pub mod build;
pub mod cache;
pub mod exec;
pub mod inspect;
pub mod kernels;
pub mod list;
pub mod minimum;
pub mod reports;
pub mod run;
pub mod veristat;
