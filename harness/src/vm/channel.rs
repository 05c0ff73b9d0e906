//! What passes between harness and QEMU: pipes, and a file that exists in memory only.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use anyhow::{Context, Result};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::ioctl_fionbio;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

/// A pipe holds more than the usual 64 KiB, so that a harness that is busy for a moment does not hold up the
/// guest.
const PIPE: usize = 1 << 20;

/// What the harness reads from QEMU.
#[derive(Debug)]
pub(super) struct Channels {
    pub(super) console: Channel,
    pub(super) events: Channel,
    pub(super) stderr: Channel,
}

/// The reading end of a pipe, until it is closed.
#[derive(Debug)]
pub(super) struct Channel(Option<File>);

impl Channels {
    pub(super) fn open(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [&self.console, &self.events, &self.stderr]
            .into_iter()
            .filter_map(|channel| channel.0.as_ref().map(AsFd::as_fd))
    }
}

impl Channel {
    pub(super) fn of(pipe: Option<OwnedFd>) -> Result<Self> {
        let pipe = pipe.context("the pipe is gone")?;
        ioctl_fionbio(&pipe, true)?;
        Ok(Self(Some(pipe.into())))
    }

    /// Reads what is there, perhaps nothing. A closed pipe is let go of: it would never stop being ready.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let Some(pipe) = &mut self.0 else {
            return Ok(0);
        };
        match pipe.read(buffer) {
            Ok(0) => {
                self.0 = None;
                Ok(0)
            }
            Ok(count) => Ok(count),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                Ok(0)
            }
            Err(error) => Err(error).context("cannot read from QEMU"),
        }
    }
}

/// A pipe whose writing end is for QEMU.
pub(super) fn channel() -> Result<(Channel, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    // Without the right to more, the usual size has to do.
    let _ = fcntl_setpipe_size(&write, PIPE);
    Ok((Channel::of(Some(read))?, write))
}

/// The reading end of a pipe, and the one for QEMU to write to.
pub(super) fn pipe_to_us() -> Result<(OwnedFd, OwnedFd)> {
    Ok(pipe_with(PipeFlags::CLOEXEC)?)
}

/// The reading end of a pipe that holds `bytes` and then ends.
pub(super) fn filled_pipe(bytes: &[u8]) -> Result<OwnedFd> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    let room = fcntl_setpipe_size(&write, bytes.len().max(PIPE))?;
    anyhow::ensure!(room >= bytes.len(), "a pipe holds {room} bytes at most");
    File::from(write).write_all(bytes)?;
    Ok(read)
}

/// A file that exists in memory only, and that nobody can change any more.
pub(super) fn in_memory(content: &[u8]) -> Result<OwnedFd> {
    let fd = memfd_create("initramfs", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = File::from(fd);
    file.write_all(content)?;
    fcntl_add_seals(
        &file,
        SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK,
    )?;
    Ok(file.into())
}

/// The name under which a process finds a file that it was started with.
pub(super) fn inherited(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}
