//! Our side of the streams of a program: its output comes out of ours, and ours go in as it takes them.
//!
//! Each direction is a thread of its own that waits for whoever is slower. A reader of ours that stops reading stops
//! the program, and nothing piles up in between.

use std::{
    fs::File,
    io::{self, ErrorKind, Read, Write},
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result};
use guest::frame::{Decoder, Frame};
use rustix::{
    net::{AddressFamily, SocketFlags, SocketType, socketpair},
    pipe::{PipeFlags, pipe_with},
};

use crate::vm::{Stop, Streams};

/// Input goes in pieces of this size at most, so that a keystroke does not wait for the end of a file.
const PIECE: usize = 256;

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
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC).context("no pipe for the output")?;
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
            .context("no sockets for the input")?;
        Ok(Self {
            output: (ours.into(), theirs),
            input,
        })
    }

    /// QEMU's ends.
    pub(super) fn theirs(&self) -> Streams<'_> {
        Streams {
            output: self.output.1.as_fd(),
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
    _input: Option<Arc<File>>,
}

/// Our own output is closed: nobody wants to hear any more.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the output any more")]
pub(super) struct Closed;

impl Relay {
    /// Begins to; `stop` is asked for when the output has nowhere to go.
    pub(super) fn start(ends: Ends, stop: &Stop) -> Self {
        let (taken, credit) = channel();
        let input = ends.input.map(Arc::new);
        if let Some(port) = input.clone() {
            // It ends with the harness: nothing else ends a read of a terminal.
            thread::spawn(move || feed(&port, &credit));
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
    }
}

fn all(mut stream: impl Write, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes)?;
    stream.flush()
}

/// Sends our standard input, as much at a time as the guest has room for.
fn feed(mut port: &File, credit: &Receiver<u16>) {
    let mut room = guest::frame::WINDOW;
    let mut buffer = [0; PIECE];
    loop {
        while room == 0 {
            match credit.recv() {
                Ok(count) => room += usize::from(count),
                Err(_) => return,
            }
        }
        room += credit.try_iter().map(usize::from).sum::<usize>();
        let most = room.min(PIECE);
        let frame = match io::stdin().lock().read(&mut buffer[..most]) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Ok(0) | Err(_) => Frame::End,
            Ok(length) => Frame::Stdin(buffer[..length].to_vec()),
        };
        if let Frame::Stdin(bytes) = &frame {
            room -= bytes.len();
        }
        if port.write_all(&frame.encode()).is_err() || frame == Frame::End {
            return;
        }
    }
}
