//! The vocabulary that host and guest share: the job that the host gives, the events that the guest sends, the list
//! of scenarios, and what a kernel prints that is not well.
//!
//! The same package builds `/init`. The harness links only this half, so that both sides read one definition of
//! each event and one list of scenarios.

pub mod event;
pub mod frame;
pub mod handover;
pub mod job;
mod objects;
pub mod program;
pub mod scenario;
pub mod scenarios;
pub mod splats;
pub mod sys;
