//! The protocol between host and guest: jobs, events, framing, the descriptions of scenarios, and the patterns of splats.
//!
//! Host and guest compile this crate, so that each definition exists once. It does not depend on BPF.

pub mod event;
pub mod frame;
pub mod handover;
pub mod job;
pub mod output;
pub mod program;
pub mod scenario;
pub mod shared_memory;
pub mod splats;
