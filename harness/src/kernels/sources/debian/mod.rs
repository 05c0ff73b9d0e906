//! Debian archives: signed release file, package index, packages.

pub(crate) mod archive;
mod index;
mod packages;
mod release;
mod snapshot;

pub(crate) use index::{Index, Lists};
pub(crate) use packages::{Query, abi, newest, versions};
pub(crate) use snapshot::{Snapshot, is_complete};

pub(crate) use snapshot::SnapshotOf;
