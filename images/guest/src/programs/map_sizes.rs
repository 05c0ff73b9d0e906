//! Sizes that an object leaves to its loader.

use fexit::{Ebpf, EbpfLoader};

/// Map types that have no number of entries, or whose number the library finds.
const WITHOUT_ENTRIES: [&str; 8] = [
    "cgroup_storage",
    "cgrp_storage",
    "inode_storage",
    "percpu_cgroup_storage",
    "perf_event_array",
    "sk_storage",
    "struct_ops",
    "task_storage",
];

/// `PERF_MAX_STACK_DEPTH` addresses.
const STACK_TRACE: u32 = 127 * 8;

/// Sets sizes for the maps of `object` that declare none, so that they can be created: one entry, or one page of a ring
/// buffer, as veristat does, and the longest stack trace. Returns a note about each.
pub(super) fn set_missing(object: &Ebpf, loader: &mut EbpfLoader) -> Vec<String> {
    let mut notes = Vec::new();
    let mut set = |name: &str, what: &str, size: u32| {
        notes.push(format!(
            "the object leaves the {what} of map `{name}` to its loader; {size} is used"
        ));
        size
    };
    for (name, map) in object.maps() {
        let kind = map.kind();
        if map.max_entries() == 0 && !WITHOUT_ENTRIES.contains(&kind.as_str()) {
            loader.map_max_entries(name, set(name, "max_entries", 1));
        }
        if map.value_size() == 0 && kind == "stack_trace" {
            loader.map_value_size(name, set(name, "value size", STACK_TRACE));
        }
    }
    notes
}
