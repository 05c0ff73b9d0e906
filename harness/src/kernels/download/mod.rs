//! From an address to files on disk.

pub(crate) mod attempt;
pub(crate) mod http;
pub(crate) mod mirrors;
pub(crate) mod retry;
mod token;
pub(crate) mod unpack;
