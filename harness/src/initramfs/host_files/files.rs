//! The files of a VM, by path: what lies where, and what links to where.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Component, Path, PathBuf},
};

use super::error::{LIMIT, ProgramError};
use crate::initramfs::cpio::{ImageError, Initramfs};

/// Folders that are mounted afresh in the VM, and hide what the image has there.
const HIDDEN: [&str; 3] = ["/dev", "/proc", "/sys"];

/// What most distributions have as links to folders below `/usr`: then the VM has them too.
const MERGED: [&str; 5] = ["/bin", "/sbin", "/lib", "/lib32", "/lib64"];

/// Files, folders and links, each at its place.
#[derive(Debug)]
pub(super) struct Files {
    /// Of [`MERGED`], what links to where on this machine.
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
    /// Nothing but the links that this machine has at its root.
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

    /// Makes a folder, if it is not there.
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

    /// Puts everything into an image.
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

    /// Puts something at its place.
    pub(super) fn insert(&mut self, path: &Path, entry: Entry) -> Result<(), ProgramError> {
        if HIDDEN.iter().any(|hidden| path.starts_with(hidden)) {
            return Err(ProgramError::Hidden(path.display().to_string()));
        }
        let path = self.place(path);
        let path = name_of(&path)?;
        let is_link = matches!(entry, Entry::Symlink(_));
        // Content stays: the link would be a name for the same file.
        if !(is_link && self.entries.contains_key(path)) {
            self.entries.insert(path.to_owned(), entry);
        }
        Ok(())
    }

    /// Where a path leads to, if it begins with a link of [`MERGED`].
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

/// The absolute path without `.` and `..`. Read as text: in the VM no folder on the way is a symbolic link.
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
