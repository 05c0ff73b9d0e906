//! The host files of a VM by path: files, folders and links.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Component, Path, PathBuf},
};

use super::error::{LIMIT, ProgramError};
use crate::initramfs::cpio::{ImageError, Initramfs};

/// Mount points of the VM, which hide files of the initramfs.
const HIDDEN: [&str; 3] = ["/dev", "/proc", "/sys"];

/// Folders that are links to folders below `/usr` on most distributions, and then in the VM too.
const MERGED: [&str; 5] = ["/bin", "/sbin", "/lib", "/lib32", "/lib64"];

/// Files, folders and links by path.
#[derive(Debug)]
pub(super) struct Files {
    /// The links of [`MERGED`] on this machine, with their targets.
    merged: Vec<(PathBuf, PathBuf)>,
    entries: BTreeMap<String, Entry>,
    size: u64,
}

#[derive(Debug)]
pub(super) enum Entry {
    Dir(u32),
    File(u32, Vec<u8>),
    Symlink(String),
}

impl Files {
    /// Only the links in the root of this machine.
    pub(super) fn new() -> Self {
        let link = |link: &Path| {
            let real = fs::canonicalize(link).ok()?;
            (real != link).then(|| (link.to_owned(), real))
        };
        let merged: Vec<_> = MERGED.iter().map(Path::new).filter_map(link).collect();
        let entries = merged.iter().filter_map(|(link, real)| {
            let target = Entry::Symlink(real.to_str()?.to_owned());
            Some((link.to_str()?.to_owned(), target))
        });
        Self {
            entries: entries.collect(),
            merged,
            size: 0,
        }
    }

    /// Adds a folder, unless there is one.
    pub(super) fn dir(&mut self, path: &Path, permissions: u32) -> Result<(), ProgramError> {
        let path = self.place(&absolute(path));
        if path == Path::new("/") || self.entries.contains_key(name_of(&path)?) {
            return Ok(());
        }
        self.insert(&path, Entry::Dir(permissions))
    }

    /// Adds a file, unless there is one.
    pub(super) fn text(&mut self, path: &str, content: &str) {
        let new = || Entry::File(0o644, content.as_bytes().to_vec());
        self.entries.entry(path.to_owned()).or_insert_with(new);
    }

    /// Bytes of all files together.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Adds everything to an initramfs.
    pub(super) fn add_to<'a>(&'a self, image: &mut Initramfs<'a>) -> Result<(), ImageError> {
        for (path, entry) in &self.entries {
            match entry {
                Entry::Dir(permissions) => image.dir(path, *permissions)?,
                Entry::File(permissions, content) => image.file(path, *permissions, content)?,
                Entry::Symlink(target) => image.symlink(path, target)?,
            };
        }
        Ok(())
    }

    /// Reads a file of the host.
    pub(super) fn content(&mut self, path: &Path) -> Result<Vec<u8>, ProgramError> {
        let meta = fs::metadata(path).map_err(|error| unreadable(path, error))?;
        self.size += meta.len();
        if self.size > LIMIT {
            return Err(ProgramError::TooLarge);
        }
        fs::read(path).map_err(|error| unreadable(path, error))
    }

    /// Adds an entry at a path.
    pub(super) fn insert(&mut self, path: &Path, entry: Entry) -> Result<(), ProgramError> {
        if HIDDEN.iter().any(|hidden| path.starts_with(hidden)) {
            return Err(ProgramError::Hidden(path.display().to_string()));
        }
        let path = self.place(path);
        let path = name_of(&path)?;
        let is_link = matches!(entry, Entry::Symlink(_));
        // A file stays: the link would point to itself.
        if !(is_link && self.entries.contains_key(path)) {
            self.entries.insert(path.to_owned(), entry);
        }
        Ok(())
    }

    /// The path with a link of [`MERGED`] resolved.
    pub(super) fn place(&self, path: &Path) -> PathBuf {
        let behind = |(link, real): &(PathBuf, PathBuf)| match path.strip_prefix(link) {
            Ok(rest) if rest.as_os_str().is_empty() => None,
            Ok(rest) => Some(real.join(rest)),
            Err(_) => None,
        };
        self.merged
            .iter()
            .find_map(behind)
            .unwrap_or_else(|| path.to_owned())
    }
}

pub(super) fn unreadable(path: &Path, error: io::Error) -> ProgramError {
    ProgramError::Read {
        path: path.display().to_string(),
        error,
    }
}

pub(super) fn name_of(path: &Path) -> Result<&str, ProgramError> {
    path.to_str()
        .ok_or_else(|| ProgramError::Name(path.to_owned()))
}

pub(super) fn mode(meta: &fs::Metadata) -> u32 {
    meta.permissions().mode() & 0o7777
}

/// The absolute path without `.` and `..`, without resolving links: the VM has no links to folders on the way.
pub(super) fn absolute(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}
