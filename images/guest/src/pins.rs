//! What scenarios pin in the BPF file system.

use std::fs;

/// Removes all pins. What cannot be removed stays: the kernel's own iterators.
pub(crate) fn remove_all() {
    for entry in fs::read_dir("/sys/fs/bpf").into_iter().flatten().flatten() {
        let path = entry.path();
        let _ = match path.is_dir() {
            true => fs::remove_dir_all(path),
            false => fs::remove_file(path),
        };
    }
}
