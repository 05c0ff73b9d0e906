//! Files and folders that are complete under their name, or not there.

use std::{
    fs::{self, Permissions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result};
use tempfile::{Builder, TempDir};

use super::lock::try_lock;

/// The name of a partial file or folder is `.NAME.RANDOM.partial`.
const END: &str = ".partial";

/// A killed process left a partial file that is older than this: a write takes seconds at most. Its writer may be in
/// another container, so there is no process to look for.
const ABANDONED: Duration = Duration::from_secs(60 * 60);

/// Replaces a file, so that a reader sees the old content or the new one, also after a power cut, and concurrent writers
/// do not get in each other's way.
///
/// Removes the partial files that killed processes left of this file more than an hour ago.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (dir, prefix) = beginning(path);
    sweep_files(dir, &prefix);
    let mut file = Builder::new()
        .prefix(&prefix)
        .suffix(END)
        .permissions(Permissions::from_mode(0o666)) // less the umask, as of any other file
        .tempfile_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// A new folder to fill before it becomes `path` by [`replace`]. It is removed when dropped.
pub(crate) fn partial(path: &Path) -> Result<TempDir> {
    let (dir, prefix) = beginning(path);
    let mut partial = Builder::new();
    partial.prefix(&prefix).suffix(END);
    fs::create_dir_all(dir)
        .and_then(|()| partial.tempdir_in(dir))
        .with_context(|| format!("cannot create a folder in {}", dir.display()))
}

/// Gives a complete folder its name, and removes what had that name.
pub(crate) fn replace(complete: &Path, path: &Path) -> Result<()> {
    remove(path)?;
    fs::rename(complete, path).with_context(|| format!("cannot create {}", path.display()))
}

/// Removes the partial folders in `dir` that killed processes left. A living process holds the lock of the folder that
/// it fills, which is called `lock_prefix` and the folder's name; `cache` has the locks.
pub(crate) fn sweep(cache: &Path, dir: &Path, lock_prefix: &str) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let partial = name.to_str().and_then(|name| {
            let name = name.strip_prefix('.')?.strip_suffix(END)?;
            name.rsplit_once('.').map(|(name, _random)| name)
        });
        if let Some(name) = partial
            && let Ok(Some(_guard)) = try_lock(cache, &format!("{lock_prefix}{name}"))
        {
            let _ = remove(&entry.path());
        }
    }
}

/// Removes a file or a folder, if it is there.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// The folder of `path`, and what the names of its partial files begin with.
fn beginning(path: &Path) -> (&Path, String) {
    let dir = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = path.file_name().unwrap_or_default();
    (dir, format!(".{}.", name.display()))
}

fn sweep_files(dir: &Path, prefix: &str) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let partial = name
            .to_str()
            .is_some_and(|name| name.starts_with(prefix) && name.ends_with(END));
        let written = || entry.metadata().and_then(|metadata| metadata.modified());
        let age = |written| SystemTime::now().duration_since(written);
        if partial && written().is_ok_and(|at| age(at).is_ok_and(|age| age > ABANDONED)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn concurrent_writers_leave_one_complete_file() {
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
    fn only_old_temporary_files_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let leave = |name: &str, age: Duration| {
            let file = fs::File::create(dir.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        };
        leave(".file.abandoned.partial", ABANDONED * 2);
        leave(".file.in-use.partial", Duration::ZERO);
        leave(".other.abandoned.partial", ABANDONED * 2);
        leave(".file.no-partial", ABANDONED * 2);
        write(&dir.path().join("file"), b"whole").unwrap();
        let mut names: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let kept = [
            ".file.in-use.partial",
            ".file.no-partial",
            ".other.abandoned.partial",
            "file",
        ];
        assert_eq!(names, kept);
    }

    #[test]
    fn partial_folders_are_unique_and_the_last_one_published_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("5.10_key");
        let [first, second] = ["first", "second"].map(|content| {
            let partial = partial(&path).unwrap();
            fs::write(partial.path().join(content), "").unwrap();
            partial
        });
        assert_ne!(first.path(), second.path());
        drop(partial(&path).unwrap());
        replace(first.path(), &path).unwrap();
        replace(second.path(), &path).unwrap();
        drop((first, second));
        assert!(path.join("second").exists() && !path.join("first").exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn partial_folders_of_killed_processes_are_removed_and_those_in_use_stay() {
        let cache = tempfile::tempdir().unwrap();
        let dir = cache.path().join("kernels");
        let begun = |name: &str| partial(&dir.join(name)).unwrap();
        let (dead, living) = (begun("5.10.1-1_a"), begun("5.10.1-1_b"));
        let guard = try_lock(cache.path(), "of-5.10.1-1_b").unwrap();
        sweep(cache.path(), &dir, "of-");
        assert!(!dead.path().exists() && living.path().exists());
        drop(guard);
        // A child process that another test forks holds the lock until it executes its program.
        let is_swept = || {
            sweep(cache.path(), &dir, "of-");
            !living.path().exists()
        };
        assert!((0..500).any(|_| is_swept() || {
            thread::sleep(Duration::from_millis(20));
            false
        }));
    }

    #[test]
    fn written_file_has_the_default_mode() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |name: &str| {
            fs::metadata(dir.path().join(name))
                .unwrap()
                .permissions()
                .mode()
        };
        fs::write(dir.path().join("usual"), "").unwrap();
        write(&dir.path().join("file"), b"").unwrap();
        assert_eq!(mode("file"), mode("usual"));
    }

    #[test]
    fn failed_write_leaves_no_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("file")).unwrap();
        assert!(write(&dir.path().join("file"), b"x").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
