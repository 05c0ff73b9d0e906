//! Resolves the names of kernels.

use std::{
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::pool::TICK;
use crate::{
    kernels::Kernels,
    report::terminal::Board,
    session::kernel_run::Target,
    support::{
        error::UsageError,
        interrupt::{INTERRUPTED, Interrupt},
    },
};

/// Only a name that the user must mend is an error. A server that does not answer cannot hold up an interrupt: what was
/// not found until then is left to the end of the process.
pub(crate) fn resolve(
    kernels: &Arc<Kernels>,
    names: &[String],
    board: &Board,
    interrupt: &Interrupt,
) -> Result<Vec<Target>> {
    let (sender, found) = mpsc::channel();
    let (all, kernels, board) = (names.to_vec(), Arc::clone(kernels), board.clone());
    thread::spawn(move || {
        for name in all {
            if sender.send(find(&kernels, name, &board)).is_err() {
                return; // Nobody listens any more after an interrupt.
            }
        }
    });
    let mut targets = Vec::new();
    while targets.len() < names.len() {
        match found.recv_timeout(TICK) {
            Ok(target) => targets.push(target?),
            Err(RecvTimeoutError::Timeout) if !interrupt.stop().requested() => {}
            Err(_) => break,
        }
    }
    let lost = |name: &String| {
        let why = Err(INTERRUPTED.to_owned());
        Target::new(name.clone(), why, Duration::ZERO)
    };
    let rest = names.iter().skip(targets.len()).map(lost);
    targets.extend(rest.collect::<Vec<_>>());
    Ok(targets)
}

fn find(kernels: &Kernels, name: String, board: &Board) -> Result<Target> {
    let line = board.line(&name);
    line.phase("resolving");
    let started = Instant::now();
    let found = match kernels.resolve(&name, &line) {
        Err(error) if error.is::<UsageError>() => return Err(error),
        found => found.map_err(|error| format!("{error:#}")),
    };
    Ok(Target::new(name, found, started.elapsed()))
}
