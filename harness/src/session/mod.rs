//! Stage 4: runs the kernels, some in parallel, and collects their results.

pub mod boot;
pub mod booter;
pub mod control;
pub mod fast_boot;
mod hosts;
pub mod jobs;
pub mod kernel_run;
pub mod observer;
pub mod options;
pub mod outputs;
pub mod plan;
pub mod pool;
mod repeats;
pub(crate) mod rerun;
pub mod resolve;
pub mod shard;
mod tasks;
