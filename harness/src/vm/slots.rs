//! A limit for the VMs of all harness processes: each VM holds one of the locks `vm-1` to `vm-N` in the cache.

use std::path::Path;

use anyhow::{Result, bail};

use crate::support::{
    interrupt::{INTERRUPTED, TICK},
    lock::{Guard, try_lock},
    stop::Stop,
};

/// The right to run a VM, until this is dropped or the process ends.
#[derive(Debug)]
pub struct Slot {
    /// `None` without a limit.
    _held: Option<Guard>,
}

/// Waits until fewer than `limit` VMs run that use this cache. Calls `on_wait` once if it has to wait.
pub fn take(
    cache: &Path,
    limit: Option<u16>,
    stop: &Stop,
    on_wait: impl FnOnce(&str),
) -> Result<Slot> {
    let Some(limit) = limit else {
        return Ok(Slot { _held: None });
    };
    if let Some(slot) = free(cache, limit)? {
        return Ok(slot);
    }
    on_wait(&format!(
        "waiting: --max-vms {limit}, and as many VMs run that use this cache"
    ));
    loop {
        if stop.wait(TICK) {
            bail!(INTERRUPTED);
        }
        if let Some(slot) = free(cache, limit)? {
            return Ok(slot);
        }
    }
}

fn free(cache: &Path, limit: u16) -> Result<Option<Slot>> {
    for number in 1..=limit {
        if let Some(held) = try_lock(cache, &format!("vm-{number}"))? {
            return Ok(Some(Slot { _held: Some(held) }));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_slots_as_the_limit_and_then_the_next_waits() {
        let (cache, stop) = (tempfile::tempdir().unwrap(), Stop::new().unwrap());
        let slot = |limit, on_wait: &dyn Fn(&str)| take(cache.path(), limit, &stop, on_wait);
        let unexpected = |said: &str| panic!("{said}");
        let _held = [(); 2].map(|()| slot(Some(2), &unexpected).unwrap());
        // Without a limit there is nothing to wait for, and a larger limit has more slots.
        let larger = [slot(None, &unexpected), slot(Some(3), &unexpected)];
        drop(larger);
        let said = std::cell::RefCell::new(String::new());
        let waits = |why: &str| {
            said.replace(why.to_owned());
            stop.request();
        };
        let error = slot(Some(2), &waits).unwrap_err();
        assert_eq!(error.to_string(), INTERRUPTED);
        assert!(said.borrow().contains("--max-vms 2"), "{said:?}");
    }
}
