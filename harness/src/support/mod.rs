//! What every stage uses.

pub(crate) mod atomic;
pub mod error;
pub mod interrupt;
pub mod progress;
pub mod sanitize;
pub(crate) mod seconds;
pub mod stop;
