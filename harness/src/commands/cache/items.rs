//! The contents of a cache.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde_json::Value;

use crate::{kernels::cache::ENTRY, support::last_used, vm::Templates};

/// Uncompressed kernels, by the checksum of their images.
pub(super) const UNPACKED: &str = "vmlinux";
pub(super) const KERNELS: &str = "kernels";
/// The folders in which kernels are built.
pub(super) const BUILDS: &str = "builds";

/// An entry of a cache.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// Its size on the disk.
    pub(super) bytes: u64,
    pub(super) used: Option<SystemTime>,
    /// The name of the lock that its maker holds; none for an entry that only the user can make again.
    pub(super) lock: Option<String>,
}

/// All entries, kernels first.
pub(super) fn all(root: &Path) -> Vec<Item> {
    let in_folder = |folder| entries(&root.join(folder)).into_iter();
    let kernels = in_folder(KERNELS).map(|path| {
        let built = is_built(&path);
        let used = last_used::of(&path.join(ENTRY));
        let kind = if built { "built" } else { "kernel" };
        item(kind, path, used, |name| (!built).then(|| name.to_owned()))
    });
    let builds = in_folder(BUILDS).map(|path| item("build", path, None, |_| None));
    let unpacked = in_folder(UNPACKED).map(|path| {
        let used = last_used::of(&path);
        item("unpacked", path, used, |name| {
            Some(format!("vmlinux-{name}"))
        })
    });
    let templates = Templates::new(root).list().into_iter().map(|kept| Item {
        kind: "template",
        name: kept.kernel,
        path: kept.path,
        bytes: kept.bytes,
        used: Some(kept.used),
        lock: Some(kept.lock),
    });
    kernels
        .chain(builds)
        .chain(unpacked)
        .chain(templates)
        .collect()
}

fn item(
    kind: &'static str,
    path: PathBuf,
    used: Option<SystemTime>,
    lock: impl FnOnce(&str) -> Option<String>,
) -> Item {
    let name = name(&path);
    Item {
        kind,
        bytes: size(&path),
        used,
        lock: lock(&name),
        name,
        path,
    }
}

/// Whether the harness built a cached kernel, so that it cannot be downloaded again.
pub(super) fn is_built(kernel: &Path) -> bool {
    let entry = fs::read(kernel.join(ENTRY)).unwrap_or_default();
    let entry: Value = serde_json::from_slice(&entry).unwrap_or_default();
    entry["source"]["kind"] == "built"
}

pub(super) fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

pub(super) fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

pub(super) fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// The size of a file or a folder on the disk.
fn size(path: &Path) -> u64 {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => entries(path).iter().map(|path| size(path)).sum(),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    }
}
