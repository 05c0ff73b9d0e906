//! The manifest of a cached kernel: its files with sizes, times and checksums.

use std::fmt::Write as _;
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::support::hex::hex;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Relative to the folder of the kernel.
    pub(crate) path: String,
    pub(crate) size: u64,
    /// The time of its last change, in nanoseconds. A file with the same time and size is not hashed again.
    pub(crate) mtime: i128,
    pub(crate) sha256: String,
}

/// The result of a check.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum State {
    Good,
    /// All contents are unchanged, but some times are not (a copy or a restored backup). Has the new records.
    Touched(Vec<Record>),
    /// The first file that has changed, and how.
    Damaged(String),
}

/// The SHA-256 of some bytes, in hexadecimal.
pub(crate) fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The time of a file's last change, in nanoseconds.
pub(crate) fn mtime(metadata: &Metadata) -> i128 {
    i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec())
}

/// One line for each file. Plain text, since each start reads about a thousand of them.
pub(crate) fn to_text(records: &[Record]) -> String {
    let mut text = String::new();
    for Record {
        path,
        size,
        mtime,
        sha256,
    } in records
    {
        let _ = writeln!(text, "{sha256} {size} {mtime} {path}");
    }
    text
}

pub(crate) fn read(path: &Path) -> Result<Vec<Record>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    text.lines()
        .map(|line| parse(line).with_context(|| format!("{} is damaged", path.display())))
        .collect()
}

fn parse(line: &str) -> Option<Record> {
    let mut words = line.splitn(4, ' ');
    let sha256 = words.next()?.to_owned();
    let size = words.next()?.parse().ok()?;
    let mtime = words.next()?.parse().ok()?;
    Some(Record {
        path: words.next()?.to_owned(),
        size,
        mtime,
        sha256,
    })
}

/// Compares the files below `dir` with their records.
pub(crate) fn check(dir: &Path, records: &[Record], thorough: bool) -> State {
    let mut touched = false;
    let mut current = Vec::new();
    for record in records {
        let path = dir.join(&record.path);
        let damaged = |reason: String| State::Damaged(format!("{}: {reason}", path.display()));
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) => return damaged(error.to_string()),
        };
        if !metadata.is_file() || metadata.len() != record.size {
            return damaged(format!(
                "it has {} bytes instead of {}",
                metadata.len(),
                record.size
            ));
        }
        let now = mtime(&metadata);
        if thorough || now != record.mtime {
            match hash_file(&path) {
                Ok(sha256) if sha256 == record.sha256 => touched |= now != record.mtime,
                Ok(_) => return damaged("its contents have changed".to_owned()),
                Err(error) => return damaged(error.to_string()),
            }
        }
        current.push(now);
    }
    if !touched {
        return State::Good;
    }
    let update = |(record, mtime): (&Record, i128)| Record {
        mtime,
        ..record.clone()
    };
    State::Touched(records.iter().zip(current).map(update).collect())
}

/// The SHA-256 of a file, in hexadecimal.
pub(crate) fn hash_file(path: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    hash_into(&mut hash, path)?;
    Ok(hex(&hash.finalize()))
}

/// Adds the contents of a file to a hash.
pub(crate) fn hash_into(hash: &mut Sha256, path: &Path) -> io::Result<()> {
    let mut file = fs::File::open(path)?;
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            n => hash.update(&buffer[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    fn record(dir: &Path, path: &str, content: &[u8]) -> Record {
        fs::write(dir.join(path), content).unwrap();
        let metadata = fs::metadata(dir.join(path)).unwrap();
        Record {
            path: path.into(),
            size: metadata.len(),
            mtime: mtime(&metadata),
            sha256: digest(content),
        }
    }

    #[test]
    fn round_trips() {
        let dir = tempfile::tempdir().unwrap();
        let records = vec![
            record(dir.path(), "a", b"1"),
            record(dir.path(), "with blank", b"22"),
        ];
        let file = dir.path().join("manifest");
        fs::write(&file, to_text(&records)).unwrap();
        assert_eq!(read(&file).unwrap(), records);
        fs::write(&file, "abc 12\n").unwrap();
        assert!(format!("{:#}", read(&file).unwrap_err()).contains("is damaged"));
    }

    #[test]
    fn distinguishes_intact_touched_and_damaged_files() {
        let dir = tempfile::tempdir().unwrap();
        let records = vec![record(dir.path(), "a", b"content")];
        assert_eq!(check(dir.path(), &records, false), State::Good);
        assert_eq!(check(dir.path(), &records, true), State::Good);

        let path = dir.path().join("a");
        let set_mtime = |time| {
            let file = fs::File::options().append(true).open(&path).unwrap();
            file.set_modified(time).unwrap();
        };
        let earlier = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        set_mtime(earlier);
        let State::Touched(new) = check(dir.path(), &records, false) else {
            panic!("not touched")
        };
        assert_eq!(new[0].mtime, 1_000_000_000);
        assert_eq!(check(dir.path(), &new, false), State::Good);

        // The same size and time: only a thorough look finds it.
        fs::write(&path, b"CONTENT").unwrap();
        set_mtime(earlier);
        assert_eq!(check(dir.path(), &new, false), State::Good);
        assert!(matches!(check(dir.path(), &new, true), State::Damaged(_)));

        fs::write(&path, b"short").unwrap();
        assert!(matches!(check(dir.path(), &new, false), State::Damaged(_)));
        fs::remove_file(&path).unwrap();
        assert!(matches!(check(dir.path(), &new, false), State::Damaged(_)));
    }
}
