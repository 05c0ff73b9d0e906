//! Code that every stage uses.

pub(crate) mod atomic;
pub mod error;
pub(crate) mod hex;
pub mod interrupt;
pub(crate) mod last_used;
pub(crate) mod lock;
pub mod percent;
pub mod progress;
pub mod sanitize;
pub(crate) mod seconds;
pub(crate) mod similar;
pub(crate) mod size;
pub mod stop;
