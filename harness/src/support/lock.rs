//! Locks between processes: a file for each in the cache.

use std::fs::{self, File, OpenOptions};
use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// A lock between processes. The system lets go of it when the process dies, however that happens.
#[derive(Debug)]
pub(crate) struct Guard {
    _file: File,
}

/// Waits until no other process holds the lock of that name in the cache `root`; `on_wait` is called if there is a
/// need to.
pub(crate) fn lock(root: &Path, name: &str, on_wait: impl FnOnce()) -> Result<Guard> {
    if let Some(guard) = try_lock(root, name)? {
        return Ok(guard);
    }
    on_wait();
    let file = lock_file(root, name)?;
    loop {
        match flock(&file, FlockOperation::LockExclusive) {
            Ok(()) => return Ok(Guard { _file: file }),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot lock {name}")),
        }
    }
}

/// The lock of that name in the cache `root`, unless another process holds it.
pub(crate) fn try_lock(root: &Path, name: &str) -> Result<Option<Guard>> {
    let file = lock_file(root, name)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(Guard { _file: file })),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot lock {name}")),
    }
}

fn lock_file(root: &Path, name: &str) -> Result<File> {
    let dir = root.join("locks");
    fs::create_dir_all(&dir)
        .with_context(|| format!("cannot create the cache {}", dir.display()))?;
    let path = dir.join(name);
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("cannot lock {}", path.display()))
}
