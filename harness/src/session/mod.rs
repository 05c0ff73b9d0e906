//! Stage 4: the kernels of a run, some at once, into one report.

pub mod boot;
pub mod booter;
pub mod fast_boot;
pub mod jobs;
pub mod kernel_run;
pub mod observer;
pub mod options;
pub mod outputs;
pub mod plan;
pub mod pool;
pub mod resolve;
mod tasks;
