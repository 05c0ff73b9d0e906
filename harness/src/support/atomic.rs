//! Replacing a file as a whole.

use std::{
    fs::{self, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, SystemTime},
};

use tempfile::Builder;

const END: &str = ".partial";

/// A partial file that is older than this was left behind: a write takes seconds at most. Age is all that tells, for whoever
/// wrote it may be in another container.
const ABANDONED: Duration = Duration::from_secs(60 * 60);

/// Writes a file so that a reader sees the old content or the new one, also after a power cut, and whoever else writes
/// the same file does not get in the way.
///
/// What a harness that was killed had begun is removed by one that writes the same file an hour later.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let prefix = format!(".{name}.");
    sweep(dir, &prefix);
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

/// Removes what was left behind of a file.
fn sweep(dir: &Path, prefix: &str) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let partial = name
            .to_str()
            .is_some_and(|name| name.starts_with(prefix) && name.ends_with(END));
        let written = || entry.metadata().and_then(|metadata| metadata.modified());
        let age = |written| {
            SystemTime::now()
                .duration_since(written)
                .unwrap_or_default()
        };
        if partial && written().is_ok_and(|written| age(written) > ABANDONED) {
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
