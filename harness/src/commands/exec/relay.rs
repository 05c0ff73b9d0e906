//! Our side of the streams of a program: its output comes out of ours, and ours go in as it takes them.
//!
//! Each direction is a thread of its own that waits for whoever is slower. A reader of ours that stops reading stops
//! the program, and nothing piles up in between.

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

/// Input goes in pieces of this size at most, so that a keystroke does not wait for the end of a file.
const PIECE: usize = 256;

/// QEMU writes byte by byte. Output gathers for so long before it is read, so that we are not woken up for each of them.
const GATHERED: Duration = Duration::from_millis(1);

/// So many pieces wait at most.
const PIECES: usize = 64;

/// The ways between QEMU and us, before they are used.
pub(super) struct Ways {
    output: (File, OwnedFd),
    input: Option<(File, OwnedFd)>,
}

/// Our ends, as long as the VM has not begun.
pub(super) struct Ends {
    output: File,
    input: Option<File>,
}

impl Ways {
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

    /// Ours; QEMU's are closed here, so that its end is the end of the output.
    pub(super) fn ours(self) -> Ends {
        Ends {
            output: self.output.0,
            input: self.input.map(|(ours, _)| ours),
        }
    }
}

/// Carries the streams while the program runs.
#[derive(Debug)]
pub(super) struct Relay {
    output: JoinHandle<Result<()>>,
    /// QEMU drops what it has not yet read when this is closed.
    _input: Option<Arc<Mutex<File>>>,
}

/// Our own output is closed: nobody wants to hear any more.
#[derive(Debug, thiserror::Error)]
#[error("the reader closed the output")]
pub(super) struct Closed;

impl Relay {
    /// Begins to; `stop` is asked for when the output has nowhere to go.
    /// With `left` our input is a terminal, and it is set when its user wants to leave.
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
            let (pieces, waiting) = sync_channel(PIECES);
            // Both end with the harness: nothing else ends a read of a terminal.
            thread::spawn(move || read_all(&pieces, typed));
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

    /// Whether there is nothing to wait for.
    pub(super) fn is_finished(&self) -> bool {
        self.output.is_finished()
    }

    /// Waits until all of the output has been passed on, which it is soon after the end of QEMU.
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
                    // Nobody listens when there is no input.
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
        decoded.map_err(|_| anyhow::anyhow!("the guest sent what is no output of a program"))?;
        thread::sleep(GATHERED);
    }
}

fn all(mut stream: impl Write, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes)?;
    stream.flush()
}

/// What is typed into a terminal, some of which is for us.
struct Typed {
    keys: Keys,
    left: Arc<AtomicBool>,
    stop: Stop,
}

impl Typed {
    /// What is for the program; none when the user wants to leave.
    fn filter(&mut self, typed: &[u8]) -> Option<Vec<u8>> {
        let keys = self.keys.filter(typed);
        if keys.is_none() {
            self.left.store(true, Ordering::SeqCst);
            self.stop.request();
        }
        keys
    }
}

/// Reads our standard input to its end.
fn read_all(pieces: &SyncSender<Vec<u8>>, mut typed: Option<Typed>) {
    let mut buffer = [0; PIECE];
    loop {
        let length = match io::stdin().lock().read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Ok(0) | Err(_) => return,
            Ok(length) => length,
        };
        let Some(typed) = &mut typed else {
            if pieces.send(buffer[..length].to_vec()).is_err() {
                return;
            }
            continue;
        };
        match typed.filter(&buffer[..length]) {
            // Ctrl-A X must get through whatever the guest does: when nobody reads, what is typed is lost at some
            // point, as on every terminal.
            Some(keys) => drop(pieces.try_send(keys)),
            None => return,
        }
    }
}

/// Sends what was read, as much at a time as the guest has room for.
fn feed(port: &Mutex<File>, credit: &Receiver<u16>, pieces: Receiver<Vec<u8>>) {
    let mut room = protocol::frame::WINDOW;
    for piece in pieces {
        let mut rest = &piece[..];
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
    // The guest may be gone already.
    let _ = send(port, &Frame::End);
}

/// Tells the guest how large our terminal is, now and whenever that changes.
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
