//! Pins: objects in a BPF file system.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::attach_types::is_attachable;
use crate::sys;

/// The file of a pin, with its identity, so that another file with the same name is not taken for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pin {
    path: PathBuf,
    /// Its file system and inode.
    file: (u64, u64),
}

impl Pin {
    /// Pins the object of `fd` at `path`, which must be free.
    pub(super) fn make(fd: BorrowedFd<'_>, path: &Path) -> io::Result<Self> {
        pin(fd, path)?;
        Ok(Self::of(path))
    }

    /// The file at `path`.
    pub(super) fn of(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            // No file has these numbers, so a removed file is never found.
            file: identity(path).unwrap_or_default(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is_there(&self) -> bool {
        identity(&self.path).is_ok_and(|file| file == self.file)
    }

    /// Removes the file, unless another file has its name.
    pub(super) fn remove(&self) -> io::Result<()> {
        if identity(&self.path)? != self.file {
            return Err(io::Error::other(
                "another file has that name now, and was not removed",
            ));
        }
        fs::remove_file(&self.path)
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_encoded_bytes())?)
}

/// Pins what `fd` is at `path`, which must be free.
pub(crate) fn pin(fd: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    sys::obj_pin(fd, &c_path(path)?)
}

/// Opens the object that is pinned at `path`.
pub(crate) fn open(path: &Path) -> io::Result<OwnedFd> {
    sys::obj_get(&c_path(path)?)
}

/// The type of a BPF object, if it is not a link of a program that this library attaches.
pub(super) fn other_than_link(fd: BorrowedFd<'_>) -> io::Result<Option<String>> {
    let mut on_many = false;
    // BPF_OBJ_GET_INFO_BY_FD also works for a program or map, whose information looks like a link's.
    if let Ok(text) = sys::read_kernel_file(&format!("/proc/self/fdinfo/{}", fd.as_raw_fd())) {
        match link_type(&text) {
            None => return Ok(Some("a program or a map".to_owned())),
            Some("tracing") => {}
            // A link of a `tp_btf` program; links of `raw_tp` programs look the same.
            Some("raw_tracepoint") => return Ok(None),
            Some(other) if other.starts_with("tracing") => on_many = true,
            Some(other) => return Ok(Some(format!("a link of type {other}"))),
        }
    }
    match sys::link_info(fd) {
        Ok((info, _)) if is_attachable(info.attach_type) => Ok(None),
        // 7.2 does not return the attach type of a link on many functions, 7.3 does.
        Ok((info, _)) if on_many && info.attach_type == 0 => Ok(None),
        Ok((info, _)) => Ok(Some(format!("a link of attach type {}", info.attach_type))),
        // Before 5.8 links have no information.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The type of a link, from `/proc/self/fdinfo` of its descriptor.
fn link_type(fdinfo: &str) -> Option<&str> {
    let mut lines = fdinfo.lines();
    lines
        .find_map(|line| line.strip_prefix("link_type:"))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_have_a_link_type() {
        assert_eq!(
            link_type("pos:\t0\nflags:\t02000000\nlink_type:\ttracing\nlink_id:\t3\n"),
            Some("tracing")
        );
        assert_eq!(link_type("pos:\t0\nprog_type:\t26\nprog_id:\t9\n"), None);
    }

    #[test]
    fn file_that_replaced_the_pin_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("link");
        fs::write(&path, "").unwrap();
        let pin = Pin {
            file: identity(&path).unwrap(),
            path: path.clone(),
        };
        assert!(pin.is_there());
        let other = dir.path().join("other");
        fs::write(&other, "").unwrap();
        fs::rename(&other, &path).unwrap();
        assert!(!pin.is_there());
        let error = pin.remove().unwrap_err();
        assert!(error.to_string().contains("was not removed"), "{error}");
        assert!(path.exists());
        fs::remove_file(&path).unwrap();
        assert_eq!(pin.remove().unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
