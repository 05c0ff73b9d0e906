//! Locks between processes: each is a file in the cache.

use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::thread::sleep;

use anyhow::{Context as _, Result, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::interrupt::{INTERRUPTED, TICK};
use super::stop::Stop;

/// A held lock. The system releases it when the process dies.
#[derive(Debug)]
pub(crate) struct Guard {
    _file: File,
}

/// Takes the lock of this name in the cache `root`. Calls `on_wait` if another process holds it, and waits; `stop` ends
/// the wait with an error.
pub(crate) fn lock(
    root: &Path,
    name: &str,
    stop: Option<&Stop>,
    on_wait: impl FnOnce(),
) -> Result<Guard> {
    if let Some(guard) = try_lock(root, name)? {
        return Ok(guard);
    }
    on_wait();
    loop {
        match stop {
            Some(stop) if stop.wait(TICK) => bail!(INTERRUPTED),
            Some(_) => {}
            None => sleep(TICK),
        }
        if let Some(guard) = try_lock(root, name)? {
            return Ok(guard);
        }
    }
}

/// Takes the lock of this name in the cache `root`, unless another process holds it.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_ends_the_wait_for_a_lock() {
        let (cache, stop) = (tempfile::tempdir().unwrap(), Stop::new().unwrap());
        let root = cache.path();
        let guard = lock(root, "name", Some(&stop), || panic!("it is free")).unwrap();
        let error = lock(root, "name", Some(&stop), || stop.request()).unwrap_err();
        assert_eq!(error.to_string(), INTERRUPTED);
        drop(guard);
        lock(root, "name", Some(&stop), || panic!("it is free")).unwrap();
    }
}
