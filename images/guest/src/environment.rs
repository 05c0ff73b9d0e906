//! Prepares the VM: mounts the file systems and brings the loopback interface up.

use anyhow::Result;

use crate::{mounts, network};

/// The argument of `/init` in a VM that was prepared before it was saved.
pub(crate) const PREPARED: &str = "prepared";

/// What could not be prepared, as warnings.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Missing {
    /// What scenarios may need.
    pub(crate) for_scenarios: Vec<String>,
    /// What only commands of the host may need.
    pub(crate) for_commands: Vec<String>,
}

/// Prepares what is not prepared yet. After an error nothing can run or be reported.
pub(crate) fn prepare() -> Result<Missing> {
    let mut missing = Missing {
        for_scenarios: mounts::mount_all()?,
        for_commands: mounts::mount_for_commands(),
    };
    let loopback = network::bring_loopback_up().err();
    missing
        .for_commands
        .extend(loopback.map(|error| format!("{error:#}")));
    Ok(missing)
}
