//! What a scenario's process may not do, so that it can report for itself alone.
//!
//! `/init` keeps the event port and the token open to nobody. A process with all rights could still trace `/init` and
//! read both out of it, make the node of the port anew, or program the port itself: a scenario has no need of these
//! rights, and nothing that it starts gets them back. What remains is the kernel's memory, which a BPF program can read:
//! against that there is no help from inside a VM.

use std::io;

use rustix::thread::{
    CapabilitySet, capabilities, remove_capability_from_bounding_set, set_capabilities,
};

/// To trace other processes; to make device nodes; to use I/O ports and `/dev/mem`.
const TAKEN: CapabilitySet = CapabilitySet::SYS_PTRACE
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::SYS_RAWIO);

/// Gives those rights up, for this process and all that it starts.
pub(crate) fn confine() -> io::Result<()> {
    for capability in TAKEN.iter() {
        remove_capability_from_bounding_set(capability)?;
    }
    let mut sets = capabilities(None)?;
    for set in [
        &mut sets.effective,
        &mut sets.permitted,
        &mut sets.inheritable,
    ] {
        set.remove(TAKEN);
    }
    Ok(set_capabilities(None, sets)?)
}
