//! What there is before anything runs: the file systems, and the interface by which programs talk to themselves.

use anyhow::Result;

use crate::{mounts, network};

/// The argument that tells `/init` that all of it is there: the VM was saved with it.
pub(crate) const PREPARED: &str = "prepared";

/// What could not be had, as warnings.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Missing {
    /// Scenarios may miss it.
    pub(crate) wanted: Vec<String>,
    /// Only a program of the host's may.
    pub(crate) usual: Vec<String>,
}

/// Prepares all of it, or what is still missing. An error says that nothing can be run or reported.
pub(crate) fn prepare() -> Result<Missing> {
    let mut missing = Missing {
        wanted: mounts::mount_all()?,
        usual: mounts::mount_usual(),
    };
    let loopback = network::raise_loopback().err();
    missing
        .usual
        .extend(loopback.map(|error| format!("{error:#}")));
    Ok(missing)
}
