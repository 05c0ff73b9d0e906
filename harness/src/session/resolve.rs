//! Resolves the requested names of kernels.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    kernels::Kernels,
    report::terminal::Board,
    session::kernel_run::Target,
    support::{error::UsageError, interrupt::Interrupt},
};

/// Only a usage error is an error. Another failure, or an interrupt, is kept in the [`Target`] of its kernel.
pub(crate) fn resolve(
    kernels: &Arc<Kernels>,
    names: &[String],
    board: &Board,
    interrupt: &Interrupt,
) -> Result<Vec<Target>> {
    let one = |name: &String| {
        let (kernels, board, owned) = (Arc::clone(kernels), board.clone(), name.clone());
        match interrupt.or_leave(move || find(&kernels, owned, &board)) {
            Err(_) if interrupt.stop().requested() => {
                let why = Err(interrupt.why());
                Ok(Target::new(name.clone(), why, Duration::ZERO))
            }
            found => found,
        }
    };
    names.iter().map(one).collect()
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
