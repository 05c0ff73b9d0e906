//! Debian archives, also those of other distributions: signed release file, package index, packages.

pub(crate) mod archive;
pub(crate) mod packages;
mod release;
pub(crate) mod snapshot;
mod suite;
