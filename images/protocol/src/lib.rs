//! What host and guest share: the job that the host gives, the events that the guest sends, what is known of a
//! scenario, and what a kernel prints when something is wrong with it.
//!
//! Both sides compile this crate, so that there is one definition of each. It knows nothing of BPF.

pub mod event;
pub mod frame;
pub mod handover;
pub mod job;
pub mod program;
pub mod scenario;
pub mod splats;
