//! Runs one command of the host and relays its standard streams over the serial ports, its output through shared memory
//! if that can be mapped.
//!
//! Reading a port never blocks on the command: input is buffered here until the command reads it, and only then does the
//! host send more. Writing to a port blocks until the host reads, and the command blocks with it.

use std::fs::File;
use std::io::{self, ErrorKind, PipeReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use protocol::event::{Event, Exit};
use protocol::frame::{Decoder, Frame, WINDOW, Window};
use protocol::job::{Command, INPUT_PORT, Streams};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::output::{Output, Relayed, Stream};
use crate::port::{self, Port};
use crate::{child_exit, host_folders, out, session, supervise};

/// Runs the command and reports how it ended.
pub(crate) fn run(spec: &Command, port: &mut Port) -> Result<()> {
    host_folders::mount_all(&spec.mounts)?;
    let start = Instant::now();
    let (how, mut output) = relay(spec, port)?;
    let duration_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    port.send(&Event::Exited { how, duration_us })?;
    if !spec.mounts.is_empty() {
        // Data in memory maps of the command is not on the host yet.
        rustix::fs::sync();
    }
    out::send_all(&spec.out, &mut output)?;
    port.send(&Event::Done { scenarios: 0 })
}

/// Runs the command and waits until the host has received its output. Reports it as running once the ports are open: input
/// that the host sends earlier is lost.
fn relay(spec: &Command, events: &mut Port) -> Result<(Exit, Output)> {
    let (ports, slow) = Ports::open(spec.streams)?;
    if let Some(why) = slow {
        let message = format!("the output passes a serial port, at most 0.5 MB/s: {why}");
        events.send(&Event::Warning { message })?;
    }
    events.send(&Event::Running)?;
    let mut relay = Relay::start(spec, ports)?;
    let status = relay.run()?;
    supervise::kill_descendants();
    // What descendants wrote before they were killed.
    relay.drain()?;
    relay.ports.output.drain()?;
    Ok((how(status), relay.ports.output))
}

fn how(status: ExitStatus) -> Exit {
    let number = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
    match (status.signal(), status.code()) {
        (Some(signal), _) => Exit::Signal(number(signal)),
        (None, code) => Exit::Code(number(code.unwrap_or_default())),
    }
}

struct Ports {
    output: Output,
    from_host: Option<File>,
}

impl Ports {
    /// Also returns why the output is slow, if it is.
    fn open(streams: Streams) -> Result<(Self, Option<String>)> {
        let has_input = streams != Streams::Output;
        let (output, slow) = Output::open()?;
        let from_host = has_input.then(|| port::open(INPUT_PORT)).transpose()?;
        Ok((Self { output, from_host }, slow))
    }
}

struct Relay {
    ports: Ports,
    decoder: Decoder,
    child: Child,
    /// Becomes readable when the command exits.
    end: PipeReader,
    /// Standard output and standard error; a terminal has only the first.
    outputs: [Option<File>; 2],
    input: Input,
}

/// Input from the host that the command has not read yet.
struct Input {
    /// `None` without input, and after its end.
    to: Option<File>,
    waiting: Vec<u8>,
    /// The host sent the end of the input.
    ended: bool,
    is_terminal: bool,
}

impl Relay {
    fn start(spec: &Command, ports: Ports) -> Result<Self> {
        let mut command = session::command(spec);
        let (outputs, input) = match spec.streams {
            Streams::Terminal(size) => {
                let (ours, theirs) = terminal(size).context("cannot create a pseudo-terminal")?;
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
        let child = command.spawn().context("cannot start the command")?;
        // `command` holds copies of the child's ends of the pipes, and would keep them open.
        drop(command);
        let end = child_exit::watch(Pid::from_child(&child)).context("cannot watch the command")?;
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
                is_terminal: matches!(spec.streams, Streams::Terminal(_)),
            },
        })
    }

    /// Relays until the command exits.
    fn run(&mut self) -> Result<ExitStatus> {
        while !self.step(None)?.ended {}
        self.child.wait().context("cannot wait for the command")
    }

    /// Relays what is left in the pipes after the last writer is gone.
    fn drain(&mut self) -> Result<()> {
        while self.step(Some(Duration::ZERO))?.has_output {}
        Ok(())
    }

    /// Waits for input, output or the exit, and relays it.
    fn step(&mut self, limit: Option<Duration>) -> Result<Events> {
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
            self.read_input()?;
        }
        self.feed()?;
        let mut has_output = false;
        for (index, ready) in outputs.into_iter().enumerate() {
            has_output |= ready && self.send_output(index)?;
        }
        Ok(Events { ended, has_output })
    }

    /// Reads from the host.
    fn read_input(&mut self) -> Result<()> {
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
        decoded.map_err(|_| anyhow!("the host sent bytes that are not a frame"))?;
        ensure!(
            input.waiting.len() <= WINDOW,
            "the host sent more than the {WINDOW} bytes of input that may be unread"
        );
        if let (Some(size), Some(terminal), true) = (size, &input.to, input.is_terminal) {
            tcsetwinsize(terminal, winsize(size))?;
        }
        Ok(())
    }

    /// Writes what the command can take without blocking.
    fn feed(&mut self) -> Result<()> {
        if let Some(taken) = self.input.feed() {
            let taken = Frame::Taken(u16::try_from(taken)?);
            self.ports.output.send(&taken)?;
        }
        Ok(())
    }

    /// Relays a chunk of output. Returns whether there was one.
    fn send_output(&mut self, index: usize) -> Result<bool> {
        let Some(stream) = &self.outputs[index] else {
            return Ok(false);
        };
        let what = if index == 0 {
            Stream::Stdout
        } else {
            Stream::Stderr
        };
        let relayed = self.ports.output.relay(stream, what)?;
        if relayed == Relayed::End {
            self.outputs[index] = None;
        }
        Ok(relayed == Relayed::Bytes)
    }
}

impl Input {
    fn wants_out(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Writes without blocking. Returns the number of bytes, if any.
    fn feed(&mut self) -> Option<usize> {
        let mut taken = 0;
        if self.waiting.is_empty() {
            // Nothing to write.
        } else if let Some(to) = &mut self.to {
            match to.write(&self.waiting) {
                Ok(length) => taken = length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // The command closed its input: drop all further input.
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

struct Events {
    /// The command exited.
    ended: bool,
    /// The command wrote something.
    has_output: bool,
}

/// A new pseudo-terminal: our side and the command's.
fn terminal(size: Window) -> Result<(File, File)> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let path = ptsname(&ours, Vec::new())?;
    let path = path
        .to_str()
        .context("the name of the pseudo-terminal is not UTF-8")?;
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
