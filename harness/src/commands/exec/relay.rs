//! Copies the streams of a program: its output to stdout and stderr, and stdin to its input.
//!
//! Each direction has a thread, which waits for the slower side. If the reader of the output stops reading, the program
//! stops too, so buffers stay small.

use std::{
    fs::File,
    io::{self, ErrorKind, Read, Write},
    os::fd::{AsFd, OwnedFd},
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
use rustix::{
    net::{AddressFamily, SocketFlags, SocketType, socketpair},
    pipe::{PipeFlags, pipe_with},
};

use signal_hook::{consts::SIGWINCH, iterator::Signals};

use super::terminal::{self, Keys};
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
}

/// The harness's ends.
pub(super) struct Ends {
    output: File,
    input: Option<File>,
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
        Ok(Self {
            output: (ours.into(), theirs),
            input,
        })
    }

    /// QEMU's ends.
    pub(super) fn theirs(&self) -> Streams<'_> {
        Streams {
            output: Some(self.output.1.as_fd()),
            input: self.input.as_ref().map(|(_, theirs)| theirs.as_fd()),
        }
    }

    /// The harness's ends. Closes QEMU's ends here, so that the output ends with QEMU.
    pub(super) fn ours(self) -> Ends {
        Ends {
            output: self.output.0,
            input: self.input.map(|(ours, _)| ours),
        }
    }
}

/// The threads that copy the streams while the program runs.
#[derive(Debug)]
pub(super) struct Relay {
    output: JoinHandle<Result<()>>,
    /// Kept open, since QEMU drops unread input when it is closed.
    _input: Option<Arc<Mutex<File>>>,
}

/// The reader of stdout or stderr has closed it.
#[derive(Debug, thiserror::Error)]
#[error("the reader closed the output")]
pub(super) struct Closed;

impl Relay {
    /// Starts the threads. They request `stop` when the output is closed.
    /// With `left` stdin is a terminal; it is set when the user types Ctrl-A X.
    pub(super) fn start(ends: Ends, stop: &Stop, left: Option<Arc<AtomicBool>>) -> Self {
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
            let done = pass_on(ends.output, &taken);
            if done.is_err() {
                stop.request();
            }
            done
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

    /// Waits until all output is written, soon after the end of QEMU.
    pub(super) fn finish(self) -> Result<()> {
        self.output
            .join()
            .unwrap_or_else(|_| anyhow::bail!("the thread for the output panicked"))
    }
}

fn pass_on(mut port: File, taken: &Sender<u16>) -> Result<()> {
    let (mut decoder, mut buffer) = (Decoder::default(), [0; 64 << 10]);
    loop {
        let length = match port.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).context("cannot read the program's output"),
        };
        let mut written = Ok(());
        let decoded = decoder.push(&buffer[..length], |frame| {
            let result = match frame {
                Frame::Stdout(bytes) => all(io::stdout().lock(), &bytes),
                Frame::Stderr(bytes) => all(io::stderr().lock(), &bytes),
                Frame::Taken(count) => {
                    // Without input there is no receiver.
                    let _ = taken.send(count);
                    Ok(())
                }
                _ => Ok(()),
            };
            if written.is_ok() {
                written = result;
            }
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
