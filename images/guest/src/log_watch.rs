//! Watches the kernel's log while something runs.

use anyhow::Result;

use crate::kmsg::KernelLog;

/// The kernel's log, or why it cannot be read.
pub(crate) type Log = Result<KernelLog, String>;

/// Calls `run`. Returns its result, and the first splat that was logged during the call, or why the log cannot be read.
pub(crate) fn watch<T>(
    log: &mut Log,
    run: impl FnOnce() -> T,
) -> (T, Result<Option<String>, String>) {
    let skipped = log.as_mut().map_err(|why| why.clone()).and_then(|log| {
        log.skip()?;
        Ok(log)
    });
    let result = run();
    (result, skipped.and_then(KernelLog::splat))
}
