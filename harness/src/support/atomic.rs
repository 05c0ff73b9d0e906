//! Replacing a file as a whole.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

const END: &str = ".partial";

/// Writes a file so that a reader sees the old content or the new one, also after a power cut, and whoever else writes
/// the same file does not get in the way.
///
/// What a harness that was killed had begun is removed by the next that writes the same file.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    sweep(path);
    let partial = partial(path);
    let written = fill(&partial, bytes).and_then(|()| fs::rename(&partial, path));
    if written.is_err() {
        let _ = fs::remove_file(&partial);
    }
    written
}

fn fill(partial: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(partial)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A name of its own for each process and each write.
fn partial(path: &Path) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    path.with_file_name(format!("{}{}-{number}{END}", stem(path), process::id()))
}

fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!(".{name}.")
}

/// Removes what processes that are no more have left of this file.
fn sweep(path: &Path) {
    let dir = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let stem = stem(path);
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let writer = name
            .to_str()
            .and_then(|name| name.strip_prefix(&stem)?.strip_suffix(END)?.split_once('-'))
            .and_then(|(pid, _)| pid.parse::<u32>().ok());
        if writer.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn many_may_write_the_same_file_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let writers: Vec<_> = (0..8)
            .map(|number: u8| {
                let path = path.clone();
                thread::spawn(move || (0..20).try_for_each(|_| write(&path, &[number; 4096])))
            })
            .collect();
        for writer in writers {
            writer.join().unwrap().unwrap();
        }
        let content = fs::read(&path).unwrap();
        assert_eq!(content.len(), 4096);
        assert!(content.iter().all(|byte| *byte == content[0]));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn only_what_the_dead_left_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let leave = |name: String| fs::write(dir.path().join(name), "half").unwrap();
        // No process has this number: it is above the system's limit.
        leave(format!(".file.{}-0.partial", u32::MAX));
        leave(format!(".file.{}-{}.partial", process::id(), u32::MAX)); // no number that a write takes
        leave(format!(".other.{}-0.partial", u32::MAX));
        write(&dir.path().join("file"), b"whole").unwrap();
        let mut names: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names.len(), 3, "{names:?}");
        assert_eq!(names[2], "file");
    }

    #[test]
    fn a_failure_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("file")).unwrap();
        assert!(write(&dir.path().join("file"), b"x").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
