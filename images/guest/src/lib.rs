//! The vocabulary that host and guest share: the job that the host gives, the events that the guest sends, and
//! the list of scenarios.
//!
//! The same package builds `/init`. The harness links only this half, so that both sides read one definition of
//! each event and one list of scenarios.

pub mod event;
pub mod job;
mod objects;
pub mod scenario;
pub mod scenarios;
