//! Whether a process of the guest runs by itself or while others run.

/// How a scenario or a program is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Concurrency {
    /// Nothing else runs.
    Serial,
    /// Other scenarios run at the same time.
    Parallel,
}
