//! Copies the streams of a program: its output to stdout and stderr, and stdin to its input.
//!
//! Each direction has a thread, which waits for the slower side. If the reader of the output stops reading, the program
//! stops too, so buffers stay small.

use std::{
    fs::File,
    io::{self, ErrorKind, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileExt as _,
    },
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};
use protocol::frame::{Decoder, Frame};
use protocol::output::{BYTES, CAPACITY, place};
use rustix::{
    fs::{MemfdFlags, ftruncate, memfd_create},
    net::{AddressFamily, SocketFlags, SocketType, socketpair},
    pipe::{PipeFlags, pipe_with},
};

use signal_hook::{consts::SIGWINCH, iterator::Signals};

use super::{
    out::Copies,
    terminal::{self, Keys},
};
use crate::{support::stop::Stop, vm::Streams};

/// The size of a chunk of input, so that a keystroke does not wait for a full buffer.
const CHUNK: usize = 256;

/// The pause before each read of output. QEMU writes byte by byte, and each byte would wake this process.
const PAUSE: Duration = Duration::from_millis(1);

/// The number of waiting chunks of input.
const CHUNKS: usize = 64;

/// The channels between QEMU and the harness, before the VM starts.
pub(super) struct Channels {
    output: (File, OwnedFd),
    input: Option<(File, OwnedFd)>,
    memory: File,
}

/// The harness's ends.
pub(super) struct Ends {
    output: File,
    input: Option<File>,
    memory: File,
}

impl Channels {
    pub(super) fn new(with_input: bool) -> Result<Self> {
        let (ours, theirs) =
            pipe_with(PipeFlags::CLOEXEC).context("cannot create a pipe for the output")?;
        let sockets = || {
            let kind = (
                AddressFamily::UNIX,
                SocketType::STREAM,
                SocketFlags::CLOEXEC,
            );
            socketpair(kind.0, kind.1, kind.2, None)
                .map(|(ours, theirs)| (File::from(ours), theirs))
        };
        let input = with_input
            .then(sockets)
            .transpose()
            .context("cannot create sockets for the input")?;
        let memory = memfd_create("output", MemfdFlags::CLOEXEC)
            .and_then(|memory| ftruncate(&memory, BYTES as u64).map(|()| memory))
            .context("cannot create a memfd for the output")?;
        Ok(Self {
            output: (ours.into(), theirs),
            input,
            memory: memory.into(),
        })
    }

    /// QEMU's ends.
    pub(super) fn theirs(&self) -> Streams<'_> {
        Streams {
            output: Some(self.output.1.as_fd()),
            input: self.input.as_ref().map(|(_, theirs)| theirs.as_fd()),
            memory: Some(self.memory.as_fd()),
        }
    }

    /// The harness's ends. Closes QEMU's ends here, so that the output ends with QEMU.
    pub(super) fn ours(self) -> Ends {
        Ends {
            output: self.output.0,
            input: self.input.map(|(ours, _)| ours),
            memory: self.memory,
        }
    }
}

/// The threads that copy the streams while the program runs.
#[derive(Debug)]
pub(super) struct Relay {
    output: JoinHandle<(Result<()>, Copies)>,
    /// Kept open, since QEMU drops unread input when it is closed.
    _input: Option<Arc<Mutex<File>>>,
}

/// The reader of stdout or stderr has closed it.
#[derive(Debug, thiserror::Error)]
#[error("the reader closed the output")]
pub(super) struct Closed;

impl Relay {
    /// Starts the threads. They request `stop` when the output is closed; `files` receives what is copied out of the VM.
    /// With `left` stdin is a terminal; it is set when the user types Ctrl-A X.
    pub(super) fn start(
        ends: Ends,
        mut files: Copies,
        stop: &Stop,
        left: Option<Arc<AtomicBool>>,
    ) -> Self {
        let (taken, credit) = channel();
        let input = ends.input.map(|port| Arc::new(Mutex::new(port)));
        if let Some(port) = input.clone() {
            let typed = left.map(|left| Typed {
                keys: Keys::default(),
                left,
                stop: stop.clone(),
            });
            if typed.is_some() {
                let port = Arc::clone(&port);
                thread::spawn(move || follow_size(&port));
            }
            let (chunks, waiting) = sync_channel(CHUNKS);
            // Both end with the process, since a read of a terminal cannot be ended.
            thread::spawn(move || read_all(&chunks, typed));
            thread::spawn(move || feed(&port, &credit, waiting));
        }
        let stop = stop.clone();
        let output = thread::spawn(move || {
            let done = pass_on(ends.output, ends.memory, &taken, &mut files);
            if done.is_err() {
                stop.request();
            }
            (done, files)
        });
        Self {
            output,
            _input: input,
        }
    }

    /// Whether all output is written.
    pub(super) fn is_finished(&self) -> bool {
        self.output.is_finished()
    }

    /// Waits until all output is written, soon after the end of QEMU. Also returns what was copied out of the VM.
    pub(super) fn finish(self) -> Result<(Result<()>, Copies)> {
        let ended = self.output.join();
        ended.map_err(|_| anyhow::anyhow!("the thread for the output panicked"))
    }
}

fn pass_on(mut port: File, memory: File, taken: &Sender<u16>, files: &mut Copies) -> Result<()> {
    let (mut decoder, mut buffer) = (Decoder::default(), [0; 64 << 10]);
    let mut shared = Shared { memory, read: 0 };
    loop {
        let length = match port.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).context("cannot read the program's output"),
        };
        let mut written = Ok(());
        let decoded = decoder.push(&buffer[..length], |frame| {
            // After an error the shared memory has bytes that were not passed on.
            if written.is_err() {
                return;
            }
            written = match frame {
                Frame::Stdout(bytes) => all(io::stdout().lock(), &bytes),
                Frame::Stderr(bytes) => all(io::stderr().lock(), &bytes),
                Frame::SharedStdout(count) => shared.pass_on(count, io::stdout().lock()),
                Frame::SharedStderr(count) => shared.pass_on(count, io::stderr().lock()),
                Frame::Archive(bytes) => all(&mut *files, &bytes),
                Frame::SharedArchive(count) => shared.pass_on(count, &mut *files),
                Frame::ArchiveEnd(why) => {
                    files.end(&why);
                    Ok(())
                }
                Frame::Taken(count) => {
                    // Without input there is no receiver.
                    let _ = taken.send(count);
                    Ok(())
                }
                _ => Ok(()),
            };
        });
        match written {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Err(Closed.into()),
            written => written.context("cannot write the program's output")?,
        }
        decoded
            .map_err(|_| anyhow::anyhow!("the guest sent invalid data on the output channel"))?;
        thread::sleep(PAUSE);
    }
}

/// The memory through which the output passes, and how many bytes were read from it.
struct Shared {
    memory: File,
    read: u64,
}

impl Shared {
    /// Writes the next bytes to `stream`, and tells the guest that they are read.
    fn pass_on(&mut self, count: u32, mut stream: impl Write) -> io::Result<()> {
        let mut left = count as usize;
        if left > CAPACITY {
            let what = "the guest announced more output than fits the shared memory";
            return Err(io::Error::new(ErrorKind::InvalidData, what));
        }
        while left > 0 {
            let place = place(self.read, left);
            let mut bytes = vec![0; place.len()];
            self.memory.read_exact_at(&mut bytes, place.start as u64)?;
            stream.write_all(&bytes)?;
            left -= place.len();
            self.read += place.len() as u64;
            self.memory.write_all_at(&self.read.to_le_bytes(), 0)?;
        }
        stream.flush()
    }
}

fn all(mut stream: impl Write, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes)?;
    stream.flush()
}

/// The keys of a terminal, some of which are for the harness.
struct Typed {
    keys: Keys,
    left: Arc<AtomicBool>,
    stop: Stop,
}

impl Typed {
    /// The keys for the program; none after Ctrl-A X.
    fn filter(&mut self, typed: &[u8]) -> Option<Vec<u8>> {
        let keys = self.keys.filter(typed);
        if keys.is_none() {
            self.left.store(true, Ordering::SeqCst);
            self.stop.request();
        }
        keys
    }
}

/// Reads stdin to its end.
fn read_all(chunks: &SyncSender<Vec<u8>>, mut typed: Option<Typed>) {
    let mut buffer = [0; CHUNK];
    loop {
        let length = match io::stdin().lock().read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Ok(0) | Err(_) => return,
            Ok(length) => length,
        };
        let Some(typed) = &mut typed else {
            if chunks.send(buffer[..length].to_vec()).is_err() {
                return;
            }
            continue;
        };
        match typed.filter(&buffer[..length]) {
            // Ctrl-A X must work even if the guest hangs: when the channel is full, keys are dropped, as on every terminal.
            Some(keys) => drop(chunks.try_send(keys)),
            None => return,
        }
    }
}

/// Sends the input to the guest, up to its credit.
fn feed(port: &Mutex<File>, credit: &Receiver<u16>, chunks: Receiver<Vec<u8>>) {
    let mut room = protocol::frame::WINDOW;
    for chunk in chunks {
        let mut rest = &chunk[..];
        while !rest.is_empty() {
            room += credit.try_iter().map(usize::from).sum::<usize>();
            while room == 0 {
                match credit.recv() {
                    Ok(count) => room += usize::from(count),
                    Err(_) => return,
                }
            }
            let (now, later) = rest.split_at(room.min(rest.len()));
            if send(port, &Frame::Stdin(now.to_vec())).is_err() {
                return;
            }
            (room, rest) = (room - now.len(), later);
        }
    }
    // The guest may have ended.
    let _ = send(port, &Frame::End);
}

/// Sends the size of the terminal to the guest, now and after each change.
fn follow_size(port: &Mutex<File>) {
    let Ok(mut signals) = Signals::new([SIGWINCH]) else {
        return;
    };
    while send(port, &Frame::Window(terminal::size())).is_ok() {
        if signals.forever().next().is_none() {
            return;
        }
    }
}

fn send(port: &Mutex<File>, frame: &Frame) -> io::Result<()> {
    let mut port = port.lock().unwrap_or_else(PoisonError::into_inner);
    port.write_all(&frame.encode())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_output_is_passed_on_around_the_ring_and_given_back() {
        let memory = tempfile::tempfile().unwrap();
        memory.set_len(BYTES as u64).unwrap();
        let read = CAPACITY as u64 - 3;
        memory.write_all_at(b"abc", BYTES as u64 - 3).unwrap();
        memory.write_all_at(b"defg", 4096).unwrap();
        let mut shared = Shared { memory, read };
        let mut output = Vec::new();
        shared.pass_on(5, &mut output).unwrap();
        shared.pass_on(2, &mut output).unwrap();
        assert_eq!(output, b"abcdefg");
        let mut first = [0; 8];
        shared.memory.read_exact_at(&mut first, 0).unwrap();
        assert_eq!(u64::from_le_bytes(first), read + 7);
        let error = shared.pass_on(u32::MAX, &mut output).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    }
}
