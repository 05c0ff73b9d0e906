//! The scenarios and their support code. `/init` runs each in its own process.

pub mod kallsyms;
mod objects;
pub mod scenario;
pub mod scenarios;
pub mod shared_memory;
pub mod sys;
