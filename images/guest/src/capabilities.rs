//! Drops the capabilities that would let a scenario report for another one.
//!
//! Only `/init` has the event port and the token. A process with all capabilities could trace `/init` and read both,
//! create the device node of the port again, or program the port directly. Scenarios need none of these capabilities.
//! A BPF program can still read the token from kernel memory; nothing inside the VM can prevent that.

use std::io;

use rustix::thread::{
    CapabilitySet, capabilities, remove_capability_from_bounding_set, set_capabilities,
};

/// For tracing other processes; creating device nodes; I/O ports and `/dev/mem`.
const DROPPED: CapabilitySet = CapabilitySet::SYS_PTRACE
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::SYS_RAWIO);

/// Drops them for this process and all its descendants.
pub(crate) fn drop_unneeded() -> io::Result<()> {
    for capability in DROPPED.iter() {
        remove_capability_from_bounding_set(capability)?;
    }
    let mut sets = capabilities(None)?;
    for set in [
        &mut sets.effective,
        &mut sets.permitted,
        &mut sets.inheritable,
    ] {
        set.remove(DROPPED);
    }
    Ok(set_capabilities(None, sets)?)
}
