//! Debian archives: signed release file, package index, packages.

mod index;
mod packages;
mod release;
mod snapshot;
pub(crate) mod version;

pub(super) use index::{Index, Lists};
pub(super) use packages::{Wanted, abi, newest, versions};
pub(super) use snapshot::{Snapshot, is_complete};

pub(crate) use snapshot::SnapshotOf;
