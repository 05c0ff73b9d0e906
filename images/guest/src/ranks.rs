//! Who goes first of those that run side by side: whoever began first. The others get what the CPU has left, which is
//! all of it while the first one waits.
//!
//! Were they to take turns by time, none would be done sooner, and each switch costs: under emulation up to a quarter.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, setpriority_pgrp};

/// The process groups that run, the first to begin first.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// The place of a process group. When it is dropped, those behind move up.
pub(crate) struct Rank(Pid);

impl Rank {
    pub(crate) fn last(group: Pid) -> Self {
        let mut running = running();
        running.push(group);
        renice(&running);
        Self(group)
    }
}

impl Drop for Rank {
    fn drop(&mut self) {
        let mut running = running();
        running.retain(|group| *group != self.0);
        renice(&running);
    }
}

fn running() -> MutexGuard<'static, Vec<Pid>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn renice(running: &[Pid]) {
    for (group, nice) in running
        .iter()
        .zip([0, 15].into_iter().chain([19].into_iter().cycle()))
    {
        // It fails only for one that has just ended.
        let _ = setpriority_pgrp(Some(*group), nice);
    }
}
