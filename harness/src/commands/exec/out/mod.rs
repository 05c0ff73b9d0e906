//! Files and folders that are copied out of the VM after the program has ended (`--out`).

mod unpack;

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Write},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow};
use protocol::job::OUT_BYTES;

use self::unpack::unpack;
use crate::support::{atomic, error::usage, sanitize::one_line};

/// The limit for the headers of all archives, in addition to that for the files.
const HEADERS: u64 = 256 << 20;

/// One `--out`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Copy {
    /// The absolute path in the VM.
    guest: PathBuf,
    /// The name of the copy.
    host: PathBuf,
}

/// Reads the options, `GUEST:HOST` each. `folder` is the program's in the VM. Every error is a usage error.
pub(super) fn plan(options: &[OsString], folder: &Path) -> Result<Vec<Copy>> {
    let mut copies: Vec<Copy> = Vec::new();
    for option in options {
        let shown = option.to_string_lossy();
        let refuse = |why: String| usage(format!("--out {shown}: {why}"));
        let parts = option.as_bytes().splitn(2, |byte| *byte == b':');
        let parts: Vec<_> = parts.map(OsStr::from_bytes).collect();
        let (guest, host) = match parts.as_slice() {
            [guest, host] if !guest.is_empty() && !host.is_empty() => (guest, Path::new(host)),
            _ => return Err(refuse("it must be GUEST:HOST".to_owned())),
        };
        if host.is_dir()
            || host.file_name().is_none()
            || host.as_os_str().as_bytes().ends_with(b"/")
        {
            let why = format!(
                "{} is a folder: name the copy itself, which must not be a folder yet",
                host.display()
            );
            return Err(refuse(why));
        }
        if copies.iter().any(|copy| copy.host == host) {
            return Err(refuse(format!("{} is named twice", host.display())));
        }
        // It is created again when a VM starts.
        atomic::partial(host).map_err(|error| refuse(format!("{error:#}")))?;
        copies.push(Copy {
            guest: folder.join(guest),
            host: host.to_owned(),
        });
    }
    Ok(copies)
}

/// The paths in the VM, in order.
pub(super) fn guest_paths(copies: &[Copy]) -> Vec<OsString> {
    copies
        .iter()
        .map(|copy| copy.guest.clone().into())
        .collect()
}

/// Receives the archives of a VM, one after the other.
#[derive(Debug)]
pub(super) struct Copies {
    copies: Vec<Copy>,
    /// The archive that arrives, and the error if it cannot be written.
    archive: Option<io::Result<File>>,
    /// Of how many copies the archive has ended.
    ended: usize,
    /// Bytes that may still arrive.
    left: u64,
    errors: Vec<String>,
    notes: Vec<String>,
}

impl Copies {
    pub(super) fn new(copies: &[Copy]) -> Self {
        Self {
            copies: copies.to_vec(),
            archive: None,
            ended: 0,
            left: OUT_BYTES + HEADERS,
            errors: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// The end of an archive. The guest says why it is not complete.
    pub(super) fn end(&mut self, why: &[u8]) {
        let archive = self.archive.take();
        let Some(copy) = self.copies.get(self.ended) else {
            return;
        };
        self.ended += 1;
        let copied = match (why, archive) {
            ([], Some(Ok(archive))) => unpack(archive, &copy.host),
            ([], Some(Err(error))) => Err(error).context("cannot store it"),
            ([], None) => Err(anyhow!("the guest sent nothing")),
            (why, _) => Err(anyhow!("{}", one_line(&String::from_utf8_lossy(why)))),
        };
        let shown = format!("{}:{}", copy.guest.display(), copy.host.display());
        match copied {
            Ok(0) => {}
            Ok(skipped) => self.notes.push(format!(
                "--out {shown}: {skipped} entries are neither files nor folders, and are not copied"
            )),
            Err(error) => self.errors.push(format!("--out {shown}: {error:#}")),
        }
    }

    /// The errors of all copies, and notes.
    pub(super) fn finish(mut self) -> (Vec<String>, Vec<String>) {
        let missing = self.copies.iter().skip(self.ended).map(|copy| {
            let (guest, host) = (copy.guest.display(), copy.host.display());
            format!("--out {guest}:{host}: the VM ended before it was copied")
        });
        self.errors.extend(missing);
        (self.errors, self.notes)
    }

    fn store(&mut self, bytes: &[u8]) -> io::Result<()> {
        // A guest may send what nobody wants.
        let Some(copy) = self.copies.get(self.ended) else {
            return Ok(());
        };
        let left = self.left.checked_sub(bytes.len() as u64);
        self.left = left.ok_or_else(|| io::Error::other("the guest sent too much"))?;
        match &mut self.archive {
            Some(Ok(archive)) => archive.write_all(bytes),
            // The rest of it is of no use.
            Some(Err(_)) => Ok(()),
            none => {
                let folder = copy.host.parent();
                let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
                let mut archive = tempfile::tempfile_in(folder.unwrap_or(Path::new(".")))?;
                archive.write_all(bytes)?;
                *none = Some(Ok(archive));
                Ok(())
            }
        }
    }
}

/// Bytes of the archive. An error is kept for [`Copies::end`], so that the output of the program goes on.
impl Write for Copies {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.store(bytes) {
            self.archive = Some(Err(error));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
