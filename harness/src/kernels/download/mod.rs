//! From an address to files on disk.

pub(crate) mod http;
pub(crate) mod mirrors;
pub(crate) mod unpack;
