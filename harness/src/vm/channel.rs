//! Pipes between harness and QEMU, and files in memory.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use anyhow::{Context, Result};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::ioctl_fionbio;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

/// The capacity of a pipe. It is above the default of 64 KiB, so that the guest does not wait for a busy harness.
const PIPE: usize = 1 << 20;

/// The channels that the harness reads from QEMU.
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

    /// Reads the available bytes, if any. Closes a pipe at its end, since `poll` would always report it as ready.
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
    // An unprivileged user may not have the right; then the default stays.
    let _ = fcntl_setpipe_size(&write, PIPE);
    Ok((Channel::of(Some(read))?, write))
}

/// The reading end of a pipe, and the writing end for QEMU.
pub(super) fn pipe_to_us() -> Result<(OwnedFd, OwnedFd)> {
    Ok(pipe_with(PipeFlags::CLOEXEC)?)
}

/// The reading end of a pipe that contains `bytes` and then ends.
pub(super) fn filled_pipe(bytes: &[u8]) -> Result<OwnedFd> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    let room = fcntl_setpipe_size(&write, bytes.len().max(PIPE))?;
    anyhow::ensure!(room >= bytes.len(), "a pipe holds {room} bytes at most");
    File::from(write).write_all(bytes)?;
    Ok(read)
}

/// A sealed file in memory.
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

/// The path of an inherited file descriptor.
pub(super) fn inherited(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}
