//! The scenarios, and what only they need. `/init` runs each in a process of its own.

mod objects;
pub mod scenario;
pub mod scenarios;
pub mod sys;
