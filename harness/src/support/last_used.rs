//! The time of the last use of an entry of the cache: the modification time of one of its files.

use std::{
    fs::{self, File, FileTimes},
    path::Path,
    time::SystemTime,
};

/// Records a use. A read-only cache keeps its times.
pub(crate) fn mark(file: &Path) {
    if let Ok(file) = File::options().append(true).open(file) {
        let _ = file.set_times(FileTimes::new().set_modified(SystemTime::now()));
    }
}

/// The time of the last use; `None` if there is no such file.
pub(crate) fn of(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).ok()?.modified().ok()
}
