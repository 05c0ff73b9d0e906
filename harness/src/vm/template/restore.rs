//! Opening a template, and starting a VM from it.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};
use protocol::handover::{HEADER, Header, SEED};
use rustix::fs::{
    FallocateFlags, MemfdFlags, SeekFrom, fallocate, fstat, ftruncate, memfd_create, seek,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    support::{hex::hex, last_used},
    vm::{
        channel::filled_pipe,
        monitor::Monitor,
        role::{Parts, Role},
    },
};

/// The smallest and the largest window for archives, in bytes. QEMU needs a power of two.
const SMALLEST_WINDOW: u64 = 64 << 20;
const LARGEST_WINDOW: u64 = 1 << 30;

pub(super) const RAM: &str = "ram";
pub(super) const STATE: &str = "state";
pub(super) const NOTE: &str = "template.json";

/// An open template, whose files match their note.
#[derive(Debug)]
pub struct Template {
    pub(super) dir: PathBuf,
    ram: File,
    state: Vec<u8>,
    note: Note,
}

/// The properties that the files of a template must have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// The release of the kernel.
    pub(super) kernel: String,
    window_bytes: u64,
    /// Only [`Template::verify`] checks this one: a restore does not read all of the memory.
    ram_sha256: String,
    ram_bytes: u64,
    ram_inode: u64,
    ram_modified_ns: i64,
    state_sha256: String,
}

impl Note {
    pub(super) fn new(
        kernel: &str,
        window_bytes: u64,
        (ram, ram_sha256): (&File, String),
        state: &[u8],
    ) -> Result<Self> {
        let metadata = ram.metadata()?;
        Ok(Self {
            kernel: kernel.to_owned(),
            window_bytes,
            ram_sha256,
            ram_bytes: metadata.len(),
            ram_inode: metadata.ino(),
            ram_modified_ns: metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec(),
            state_sha256: hex(&Sha256::digest(state)),
        })
    }
}

/// SHA-256 over the blocks of the memory that are not zero, each after its offset. Most of the file is holes, which are
/// not read.
pub(super) fn ram_sha256(ram: &File) -> std::io::Result<String> {
    const BLOCK: usize = 1 << 16;
    let (mut hash, mut block, mut offset) = (Sha256::new(), vec![0; BLOCK], 0);
    loop {
        match seek(ram, SeekFrom::Data(offset)) {
            Ok(data) => offset = data - data % BLOCK as u64,
            Err(Errno::NXIO) => return Ok(hex(&hash.finalize())),
            Err(error) => return Err(error.into()),
        }
        let length = ram.read_at(&mut block, offset)?;
        if block[..length].iter().any(|&byte| byte != 0) {
            hash.update(offset.to_le_bytes());
            hash.update(&block[..length]);
        }
        offset += BLOCK as u64;
    }
}

impl Template {
    /// Opens the template in `dir`; `None` if there is none, and an error if it was changed.
    ///
    /// The memory is not read: a file that still has its time, size and inode counts as unchanged, as with kernels.
    pub(super) fn open(dir: &Path) -> Result<Option<Self>> {
        let note = match std::fs::read(dir.join(NOTE)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).context("its note cannot be read"),
        };
        let note: Note = serde_json::from_slice(&note).context("its note is damaged")?;
        let state = std::fs::read(dir.join(STATE)).context("its state cannot be read")?;
        let ram = File::open(dir.join(RAM)).context("its memory cannot be read")?;
        let ram_sha256 = (&ram, note.ram_sha256.clone());
        let found = Note::new(&note.kernel, note.window_bytes, ram_sha256, &state)?;
        ensure!(found == note, "it was changed: {found:?} is not {note:?}");
        Ok(Some(Self {
            dir: dir.to_owned(),
            ram,
            state,
            note,
        }))
    }

    /// Reads all of the memory, and compares it with what was saved.
    pub(super) fn verify(&self) -> Result<()> {
        let found = ram_sha256(&self.ram).context("its memory cannot be read")?;
        ensure!(
            found == self.note.ram_sha256,
            "the contents of its memory have changed"
        );
        Ok(())
    }

    /// Records the use, for [`super::Templates::list`].
    pub(super) fn mark_used(&self) {
        last_used::mark(&self.dir.join(NOTE));
    }

    /// The files for a VM that restores this template and gets `archive`, and its monitor.
    pub(in crate::vm) fn restored(&self, archive: &[u8]) -> Result<(Role, Monitor)> {
        let header = Header {
            length: archive.len() as u64,
            time_ns: now_ns()?,
            seed: seed()?,
        };
        let window_bytes = self.note.window_bytes;
        let window = window(window_bytes)?;
        write_at(&window, &header.to_bytes(), 0)?;
        write_at(&window, archive, HEADER as u64)?;
        let state = filled_pipe(&self.state).context("cannot create a pipe for the state")?;
        let (mut monitor, monitor_end) = Monitor::new()?;
        monitor.restore_from(state.as_raw_fd())?;
        let parts = Parts {
            ram: self.ram.try_clone()?.into(),
            window,
            window_bytes,
            monitor: monitor_end,
            state: Some(state),
        };
        Ok((Role::Restored(parts), monitor))
    }
}

/// The size of the window for an archive.
pub(super) fn window_for(archive: &[u8]) -> Result<u64> {
    let needed = (HEADER + archive.len()) as u64;
    let window = needed.next_power_of_two().max(SMALLEST_WINDOW);
    if window > LARGEST_WINDOW {
        bail!(
            "an archive of {} bytes is too large for a template",
            archive.len()
        );
    }
    Ok(window)
}

/// An empty window.
pub(super) fn window(bytes: u64) -> Result<OwnedFd> {
    let window = memfd_create("archive", MemfdFlags::CLOEXEC)?;
    ftruncate(&window, bytes)?;
    Ok(window)
}

/// Empties a window. The guest maps it, and reads zeroes from then on.
pub(in crate::vm) fn empty(window: &OwnedFd) -> Result<()> {
    let length = fstat(window)?.st_size.cast_unsigned();
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(window, flags, 0, length).context("cannot empty the window of the archive")
}

fn write_at(window: &OwnedFd, bytes: &[u8], offset: u64) -> Result<()> {
    let file = File::from(window.try_clone()?);
    file.write_all_at(bytes, offset)
        .context("cannot create a memfd for the archive")
}

fn now_ns() -> Result<u64> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(u64::try_from(since.as_nanos())?)
}

fn seed() -> Result<[u8; SEED]> {
    use std::io::Read as _;
    let mut seed = [0; SEED];
    File::open("/dev/urandom")?.read_exact(&mut seed)?;
    Ok(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_powers_of_two_within_bounds() {
        assert_eq!(window_for(b"small").unwrap(), SMALLEST_WINDOW);
        assert_eq!(window_for(&vec![0; 64 << 20]).unwrap(), 128 << 20);
        assert_eq!(
            window_for(&vec![0; (128 << 20) - HEADER]).unwrap(),
            128 << 20
        );
    }

    #[test]
    fn cleared_window_is_empty() {
        let window = window(SMALLEST_WINDOW).unwrap();
        write_at(&window, &[7; 10_000], HEADER as u64).unwrap();
        empty(&window).unwrap();
        let file = File::from(window);
        let mut content = vec![1; 20_000];
        file.read_exact_at(&mut content, 0).unwrap();
        assert!(content.iter().all(|&byte| byte == 0));
        assert_eq!(file.metadata().unwrap().len(), SMALLEST_WINDOW);
    }

    fn saved(dir: &Path) {
        let ram = File::create(dir.join(RAM)).unwrap();
        ram.set_len(1 << 20).unwrap();
        std::fs::write(dir.join(STATE), "state").unwrap();
        let sum = ram_sha256(&ram).unwrap();
        let note = Note::new("5.10", SMALLEST_WINDOW, (&ram, sum), b"state").unwrap();
        std::fs::write(dir.join(NOTE), serde_json::to_vec(&note).unwrap()).unwrap();
    }

    #[test]
    fn digest_of_the_memory_covers_every_byte_but_not_where_its_holes_are() {
        let digest = |blocks: &[(u64, &[u8])]| {
            let ram = tempfile::tempfile().unwrap();
            for (offset, bytes) in blocks {
                ram.write_all_at(bytes, *offset).unwrap();
            }
            ram.set_len(1 << 20).unwrap();
            ram_sha256(&ram).unwrap()
        };
        let saved = digest(&[(5, b"one"), (1 << 19, b"two")]);
        assert_eq!(
            saved,
            digest(&[(0, &[0; 1 << 18]), (5, b"one"), (1 << 19, b"two")])
        );
        assert_ne!(saved, digest(&[(5, b"one"), (1 << 18, b"two")]));
        assert_ne!(saved, digest(&[(5, b"one"), (1 << 19, b"twO")]));
        assert_ne!(
            saved,
            digest(&[(5, b"one"), (1 << 19, b"two"), ((1 << 20) - 1, b"x")])
        );
    }

    #[test]
    fn changed_template_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        assert!(Template::open(dir).unwrap().is_none());
        saved(dir);
        assert_eq!(
            Template::open(dir).unwrap().unwrap().note.window_bytes,
            SMALLEST_WINDOW
        );
        // Using it does not change it.
        Template::open(dir).unwrap().unwrap().mark_used();
        Template::open(dir).unwrap().unwrap().verify().unwrap();
        for (why, file, content) in [
            ("its note", NOTE, Some("{}")),
            ("its state", STATE, None),
            ("changed", STATE, Some("State")),
            ("its memory", RAM, None),
            ("changed", RAM, Some("short")),
        ] {
            saved(dir);
            match content {
                Some(content) => std::fs::write(dir.join(file), content).unwrap(),
                None => std::fs::remove_file(dir.join(file)).unwrap(),
            }
            let error = format!("{:#}", Template::open(dir).unwrap_err());
            assert!(error.contains(why), "{error} should say {why}");
        }
    }
}
