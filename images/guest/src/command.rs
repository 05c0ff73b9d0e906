//! Runs one program of the host's, and carries its streams over the port.
//!
//! Reading the port never waits for the program: what is typed is held here until the program takes it, and only
//! then is the host told to send more. Writing to the port waits for the host, and so does the program then.

use std::fs::File;
use std::io::{self, ErrorKind, PipeReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use protocol::event::{Event, Exit};
use protocol::frame::{CONTENT_LIMIT, Decoder, Frame, WINDOW, Window};
use protocol::job::{Command, INPUT_PORT, OUTPUT_PORT, Streams};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcdrain, tcsetwinsize};

use crate::port::{self, Port};
use crate::{end, session, supervise};

/// Does the work of a VM that is there for one program.
pub(crate) fn work(wanted: &Command, port: &mut Port) -> Result<()> {
    let start = Instant::now();
    let how = run(wanted, || port.send(&Event::Running))?;
    let duration_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    port.send(&Event::Exited { how, duration_us })?;
    port.send(&Event::Done { scenarios: 0 })
}

/// Runs it to its end, and waits until the last byte of its output has left. `open` is called when the ports are: a
/// byte that came before would be lost.
fn run(wanted: &Command, open: impl FnOnce() -> Result<()>) -> Result<Exit> {
    let ports = Ports::open(wanted.streams)?;
    open()?;
    let mut relay = Relay::start(wanted, ports)?;
    let status = relay.run()?;
    supervise::kill_descendants();
    // What descendants wrote until then, and a pipe of theirs that is full.
    relay.rest()?;
    tcdrain(&relay.ports.to_host).context("cannot drain the port for output")?;
    Ok(how(status))
}

fn how(status: ExitStatus) -> Exit {
    let number = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
    match (status.signal(), status.code()) {
        (Some(signal), _) => Exit::Signal(number(signal)),
        (None, code) => Exit::Code(number(code.unwrap_or_default())),
    }
}

struct Ports {
    to_host: File,
    from_host: Option<File>,
}

impl Ports {
    fn open(streams: Streams) -> Result<Self> {
        let has_input = streams != Streams::Output;
        Ok(Self {
            to_host: port::open(OUTPUT_PORT)?,
            from_host: has_input.then(|| port::open(INPUT_PORT)).transpose()?,
        })
    }
}

struct Relay {
    ports: Ports,
    decoder: Decoder,
    child: Child,
    /// Becomes readable when the program ends.
    end: PipeReader,
    /// Its output; the second is there only if errors have a stream of their own.
    outputs: [Option<File>; 2],
    input: Input,
}

/// What the host sent and the program has yet to take.
struct Input {
    /// None when there is no input, or no more.
    to: Option<File>,
    waiting: Vec<u8>,
    /// The host has no more.
    ended: bool,
    is_terminal: bool,
}

impl Relay {
    fn start(wanted: &Command, ports: Ports) -> Result<Self> {
        let mut command = session::command(wanted);
        let (outputs, input) = match wanted.streams {
            Streams::Terminal(size) => {
                let (ours, theirs) = terminal(size).context("cannot make a terminal")?;
                command
                    .stdin(theirs.try_clone()?)
                    .stdout(theirs.try_clone()?)
                    .stderr(theirs);
                ([Some(ours.try_clone()?), None], Some(ours))
            }
            streams => {
                let (output, output_end) = io::pipe()?;
                let (errors, errors_end) = io::pipe()?;
                command.stdout(output_end).stderr(errors_end);
                let mut input = None;
                if streams == Streams::All {
                    let (input_end, ours) = io::pipe()?;
                    command.stdin(input_end);
                    input = Some(File::from(OwnedFd::from(ours)));
                } else {
                    command.stdin(Stdio::null());
                }
                let outputs = [output, errors].map(|pipe| Some(File::from(OwnedFd::from(pipe))));
                (outputs, input)
            }
        };
        if let Some(input) = &input {
            fcntl_setfl(input, OFlags::NONBLOCK)?;
        }
        let child = command.spawn().context("cannot start a process")?;
        // The command holds copies of the program's ends, which would keep them open.
        drop(command);
        let end = end::of(Pid::from_child(&child)).context("cannot watch the program")?;
        Ok(Self {
            ports,
            decoder: Decoder::default(),
            child,
            end,
            outputs,
            input: Input {
                to: input,
                waiting: Vec::new(),
                ended: false,
                is_terminal: matches!(wanted.streams, Streams::Terminal(_)),
            },
        })
    }

    /// Until the program ends.
    fn run(&mut self) -> Result<ExitStatus> {
        while !self.step(None)?.ended {}
        self.child.wait().context("cannot wait for the program")
    }

    /// What is left in the pipes once nobody can write to them.
    fn rest(&mut self) -> Result<()> {
        while self.step(Some(Duration::ZERO))?.came {}
        Ok(())
    }

    /// Waits for something to happen, and passes it on.
    fn step(&mut self, limit: Option<Duration>) -> Result<Happened> {
        let mut fds = vec![PollFd::new(&self.end, PollFlags::IN)];
        let from_host = self.ports.from_host.iter();
        fds.extend(from_host.map(|port| PollFd::new(port, PollFlags::IN)));
        let outputs = self.outputs.iter().flatten();
        fds.extend(outputs.map(|output| PollFd::new(output, PollFlags::IN)));
        if let Some(to) = self.input.to.as_ref().filter(|_| self.input.wants_out()) {
            fds.push(PollFd::new(to, PollFlags::OUT));
        }
        let limit = limit.map(Timespec::try_from).transpose()?;
        match poll(&mut fds, limit.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("poll"),
        }
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        let ended = ready.next() == Some(true);
        let from_host = self.ports.from_host.is_some() && ready.next() == Some(true);
        let is_open = self.outputs.each_ref().map(Option::is_some);
        let outputs = is_open.map(|open| open && ready.next() == Some(true));
        if from_host {
            self.hear()?;
        }
        self.feed()?;
        let mut came = false;
        for (index, ready) in outputs.into_iter().enumerate() {
            came |= ready && self.pass_on(index)?;
        }
        Ok(Happened { ended, came })
    }

    /// Takes what the host has sent.
    fn hear(&mut self) -> Result<()> {
        let mut buffer = [0; 4096];
        let Some(port) = &mut self.ports.from_host else {
            return Ok(());
        };
        let length = port.read(&mut buffer)?;
        let (input, mut size) = (&mut self.input, None);
        let decoded = self.decoder.push(&buffer[..length], |frame| match frame {
            Frame::Stdin(bytes) => input.waiting.extend(bytes),
            Frame::End => input.ended = true,
            Frame::Window(window) => size = Some(window),
            _ => {}
        });
        decoded.map_err(|_| anyhow!("the host sent what is no frame"))?;
        ensure!(
            input.waiting.len() <= WINDOW,
            "the host sent more than was asked for"
        );
        if let (Some(size), Some(terminal), true) = (size, &input.to, input.is_terminal) {
            tcsetwinsize(terminal, winsize(size))?;
        }
        Ok(())
    }

    /// Gives the program what it takes without waiting.
    fn feed(&mut self) -> Result<()> {
        if let Some(taken) = self.input.feed() {
            self.send(&Frame::Taken(u16::try_from(taken)?))?;
        }
        Ok(())
    }

    /// Passes on a piece of output; false at its end.
    fn pass_on(&mut self, index: usize) -> Result<bool> {
        let mut buffer = [0; CONTENT_LIMIT];
        let Some(output) = &mut self.outputs[index] else {
            return Ok(false);
        };
        let length = match output.read(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            // A terminal that nobody holds any more.
            Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => 0,
            Err(error) => return Err(error).context("cannot read the program's output"),
        };
        if length == 0 {
            self.outputs[index] = None;
            return Ok(false);
        }
        let bytes = buffer[..length].to_vec();
        self.send(&match index {
            0 => Frame::Stdout(bytes),
            _ => Frame::Stderr(bytes),
        })?;
        Ok(true)
    }

    fn send(&mut self, frame: &Frame) -> Result<()> {
        self.ports
            .to_host
            .write_all(&frame.encode())
            .context("cannot write to the port for output")
    }
}

impl Input {
    fn wants_out(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Writes what is taken without waiting; how much that was, if anything.
    fn feed(&mut self) -> Option<usize> {
        let mut taken = 0;
        if self.waiting.is_empty() {
            // Nothing to write.
        } else if let Some(to) = &mut self.to {
            match to.write(&self.waiting) {
                Ok(length) => taken = length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // The program closed its input: whatever comes is taken and dropped.
                Err(_) => self.to = None,
            }
        }
        if self.to.is_none() {
            taken = self.waiting.len();
        }
        self.waiting.drain(..taken);
        if self.ended && self.waiting.is_empty() {
            self.to = None;
        }
        (taken > 0).then_some(taken)
    }
}

struct Happened {
    /// The program is over.
    ended: bool,
    /// It had written something.
    came: bool,
}

/// A new terminal: our side and the program's.
fn terminal(size: Window) -> Result<(File, File)> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let path = ptsname(&ours, Vec::new())?;
    let path = path.to_str().context("the terminal's name")?;
    let theirs = port::open_terminal(path)?;
    tcsetwinsize(&theirs, winsize(size))?;
    Ok((ours.into(), theirs))
}

fn winsize(Window { rows, columns }: Window) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}
