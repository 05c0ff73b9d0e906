//! Sends the output of a command, and files, to the host, through shared memory or over the serial port.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use guest::shared_memory::{self, Mapping};
use protocol::frame::{CONTENT_LIMIT, Frame};
use protocol::job::OUTPUT_PORT;
use protocol::output::{place, room};
use protocol::shared_memory::OUTPUT_SLOT;
use rustix::io::Errno;
use rustix::termios::tcdrain;

use crate::port;

/// The pause before the next look for room.
const PAUSE: Duration = Duration::from_millis(1);

/// The ways to the host.
pub(crate) struct Output {
    port: File,
    memory: Option<Memory>,
}

/// The shared memory, and how many bytes were written to it.
struct Memory {
    mapping: Mapping,
    written: u64,
}

/// What is relayed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
    /// Of a file or folder that the host wants.
    Archive,
}

/// What there was to relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relayed {
    Bytes,
    /// Nothing yet.
    Nothing,
    /// The end of the stream.
    End,
}

impl Output {
    /// Opens the serial port, and maps the memory. Also returns why that cannot be mapped.
    pub(crate) fn open() -> Result<(Self, Option<String>)> {
        let port = port::open(OUTPUT_PORT)?;
        let mapped = shared_memory::map(OUTPUT_SLOT, true);
        let why = mapped.as_ref().err().map(|why| format!("{why:#}"));
        let memory = mapped.ok().map(|mapping| Memory {
            mapping,
            written: 0,
        });
        Ok((Self { port, memory }, why))
    }

    /// Reads once from `stream`, and sends what came.
    pub(crate) fn relay(&mut self, mut stream: &File, what: Stream) -> Result<Relayed> {
        let mut buffer = [0; CONTENT_LIMIT];
        let read = match &mut self.memory {
            Some(memory) => memory.read(stream),
            None => stream
                .read(&mut buffer)
                .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO)),
        };
        let length = match read {
            // The last process closed the terminal.
            Ok(0) | Err(Errno::IO) => return Ok(Relayed::End),
            Ok(length) => length,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Relayed::Nothing),
            Err(error) => return Err(error).context("cannot read the output of the command"),
        };
        let frame = if self.memory.is_some() {
            let shared = match what {
                Stream::Stdout => Frame::SharedStdout,
                Stream::Stderr => Frame::SharedStderr,
                Stream::Archive => Frame::SharedArchive,
            };
            shared(u32::try_from(length)?)
        } else {
            let framed = match what {
                Stream::Stdout => Frame::Stdout,
                Stream::Stderr => Frame::Stderr,
                Stream::Archive => Frame::Archive,
            };
            framed(buffer[..length].to_vec())
        };
        self.send(&frame)?;
        Ok(Relayed::Bytes)
    }

    /// Sends a frame. Blocks until the host reads.
    pub(crate) fn send(&mut self, frame: &Frame) -> Result<()> {
        self.port
            .write_all(&frame.encode())
            .context("cannot write to the port for output")
    }

    /// Waits until the last byte is sent.
    pub(crate) fn drain(&self) -> Result<()> {
        tcdrain(&self.port).context("cannot drain the port for output")
    }
}

impl Memory {
    /// Reads once from `stream` into the memory, after the host has made room.
    fn read(&mut self, stream: &File) -> rustix::io::Result<usize> {
        let room = loop {
            match room(self.written, u64::from_le_bytes(self.mapping.first())) {
                0 => thread::sleep(PAUSE),
                room => break room,
            }
        };
        let length = self.mapping.read_from(stream, place(self.written, room))?;
        self.written += length as u64;
        Ok(length)
    }
}
