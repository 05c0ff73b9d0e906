//! CPU priorities of the scenarios that run in parallel: the one that started first goes first, the others use the CPU
//! while it waits.
//!
//! Time slices would finish none of them sooner, and each context switch costs up to a quarter under emulation.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, setpriority_pgrp};

/// The process groups that run, in the order in which they started.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// The priority of a process group. Dropping it raises the groups that started later.
pub(crate) struct Priority(Pid);

impl Priority {
    pub(crate) fn lowest(group: Pid) -> Self {
        let mut running = running();
        running.push(group);
        renice(&running);
        Self(group)
    }
}

impl Drop for Priority {
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
        // This fails only for a group that has just ended.
        let _ = setpriority_pgrp(Some(*group), nice);
    }
}
