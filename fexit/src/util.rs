//! The CPUs of this machine.

use std::io;

use crate::sys::cpus;

/// The CPUs that are on: those whose perf buffers get records.
///
/// # Errors
///
/// The file that could not be read, and why.
pub fn online_cpus() -> Result<Vec<u32>, (&'static str, io::Error)> {
    cpus::online_cpus().map_err(|error| (cpus::ONLINE, error))
}

/// How many CPUs the kernel may ever bring up: a value of a per-CPU map has one for each.
///
/// # Errors
///
/// The file that could not be read, and why.
pub fn nr_cpus() -> Result<usize, (&'static str, io::Error)> {
    let cpus = cpus::possible_cpus().map_err(|error| (cpus::POSSIBLE, error))?;
    Ok(cpus.len())
}
