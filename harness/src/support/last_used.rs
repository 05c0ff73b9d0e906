//! When something in the cache was last used: the time of one of its files tells.

use std::{
    fs::{self, File, FileTimes},
    path::Path,
    time::SystemTime,
};

/// Says that it is used now. A cache that cannot be written keeps its times.
pub(crate) fn mark(file: &Path) {
    if let Ok(file) = File::options().append(true).open(file) {
        let _ = file.set_times(FileTimes::new().set_modified(SystemTime::now()));
    }
}

/// When it was last used; `None` if the file is gone.
pub(crate) fn of(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).ok()?.modified().ok()
}
