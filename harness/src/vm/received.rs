//! The output of a VM so far, and how it ended.

use std::process::ExitStatus;
use std::time::Instant;

use anyhow::Result;
use protocol::event::{Event, Signed};

use super::console::Console;
use super::ending::Ending;
use super::keep::Keep;
use super::lines::{Line, Lines};
use super::scan::Tally;

/// The limit for an event. A longer line is not an event.
const EVENT_LINE: usize = 1 << 20;

/// The shown length and number of lines that are not events.
const GARBAGE_SHOWN: usize = 300;
const GARBAGE_LINES: u64 = 20;

/// The limit for splats without an event in between.
const REPORTS_IN_A_ROW: usize = 200;

/// The kept end of QEMU's stderr.
const STDERR: usize = 64 << 10;

/// An event of a running VM.
#[derive(Clone, Debug, PartialEq)]
pub enum VmEvent {
    /// The guest reported something.
    Guest(Event),
    /// A line of the event channel that is not an event.
    Garbage {
        /// The beginning of the line.
        line: String,
        /// Why it is not an event.
        reason: String,
    },
    /// A line of the console.
    Console(String),
}

/// The receiver of the events of a VM, which may set time limits.
pub trait Observer {
    /// Takes an event.
    fn take(&mut self, event: VmEvent);

    /// When and why to end the VM, unless new output changes this.
    fn deadline(&self) -> Option<(Instant, String)> {
        None
    }
}

impl<F: FnMut(VmEvent)> Observer for F {
    fn take(&mut self, event: VmEvent) {
        self(event);
    }
}

/// The observer of a VM.
pub(super) type Sink<'a> = &'a mut dyn Observer;

/// The output so far.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) console: Console,
    token: String,
    events: Lines,
    pub(super) event_bytes: u64,
    pub(super) garbage: u64,
    pub(super) stderr: Vec<u8>,
    keep: Option<Keep>,
    /// The time of the last byte on console or event channel.
    pub(super) last_output: Instant,
    /// The number of splats at the last event, and the time of the first stall after it.
    before: Tally,
    pub(super) stalled: Option<Instant>,
    /// The time of `done` or a panic, after which QEMU must end.
    pub(super) ending_since: Option<Instant>,
    /// The start of the user's program, whose output uses another channel.
    pub(super) running: Option<Instant>,
    /// The VM waits to be saved.
    pub(super) waiting: bool,
    /// Whether console or event channel have had output.
    pub(super) anything: bool,
    done: bool,
}

impl Received {
    pub(super) fn new(now: Instant, keep: Option<Keep>, token: &str) -> Self {
        Self {
            console: Console::default(),
            token: token.to_owned(),
            events: Lines::new(EVENT_LINE),
            event_bytes: 0,
            garbage: 0,
            stderr: Vec::new(),
            keep,
            last_output: now,
            before: Tally::default(),
            stalled: None,
            ending_since: None,
            running: None,
            waiting: false,
            anything: false,
            done: false,
        }
    }

    pub(super) fn console(&mut self, bytes: &[u8], sink: Sink<'_>) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.sign();
        if let Some(keep) = &mut self.keep {
            keep.console(bytes)?;
        }
        self.console
            .push(bytes, |line| sink.take(VmEvent::Console(line)));
        if self.stalled.is_none() && self.console.tally().stalls > self.before.stalls {
            self.stalled = Some(self.last_output);
        }
        if self.ending_since.is_none() && self.console.panic().is_some() {
            self.ending_since = Some(self.last_output);
        }
        Ok(())
    }

    pub(super) fn events(&mut self, bytes: &[u8], sink: Sink<'_>) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.sign();
        if let Some(keep) = &mut self.keep {
            keep.events(bytes)?;
        }
        self.event_bytes += bytes.len() as u64;
        let mut lines = Vec::new();
        self.events.push(bytes, |line| lines.push(line));
        for line in lines {
            self.event(&line, sink);
        }
        Ok(())
    }

    fn sign(&mut self) {
        self.last_output = Instant::now();
        self.anything = true;
    }

    fn event(&mut self, line: &Line, sink: Sink<'_>) {
        if line.text.is_empty() {
            return;
        }
        match parse(line, &self.token) {
            Ok(event) => {
                (self.before, self.stalled) = (self.console.tally(), None);
                match event {
                    Event::Running => self.running = Some(self.last_output),
                    Event::Done { .. } => {
                        self.done = true;
                        self.ending_since.get_or_insert(self.last_output);
                    }
                    _ => {}
                }
                self.waiting |= matches!(event, Event::Waiting);
                sink.take(VmEvent::Guest(event));
            }
            Err(reason) => {
                self.garbage += 1;
                if self.garbage <= GARBAGE_LINES {
                    let line = line.text.chars().take(GARBAGE_SHOWN).collect();
                    sink.take(VmEvent::Garbage { line, reason });
                }
            }
        }
    }

    pub(super) fn stderr(&mut self, bytes: &[u8]) {
        self.stderr.extend_from_slice(bytes);
        let excess = self.stderr.len().saturating_sub(STDERR);
        self.stderr.drain(..excess);
    }

    /// Whether the kernel prints splat after splat without an event in between.
    pub(super) fn console_floods(&self) -> bool {
        let reports = self.console.tally().reports - self.before.reports;
        reports > REPORTS_IN_A_ROW && self.ending_since.is_none() && self.running.is_none()
    }

    /// Takes the last lines, which may lack their line ends.
    pub(super) fn finish(&mut self, sink: Sink<'_>) {
        self.console
            .finish(|line| sink.take(VmEvent::Console(line)));
        if let Some(line) = self.events.finish() {
            self.event(&line, sink);
        }
    }

    /// The ending of a VM that the harness did not end.
    pub(super) fn ending(&self, status: ExitStatus, stderr: &str) -> Ending {
        if let Some(panic) = self.console.panic() {
            let (_, message) = panic
                .message
                .split_once("not syncing: ")
                .unwrap_or(("", &panic.message));
            Ending::KernelPanic {
                message: message.to_owned(),
            }
        } else if self.done {
            Ending::Done
        } else if status.success() {
            Ending::EndedEarly
        } else {
            Ending::QemuFailed {
                status,
                stderr: stderr.to_owned(),
            }
        }
    }
}

fn parse(line: &Line, token: &str) -> Result<Event, String> {
    if line.truncated {
        return Err(format!("it is longer than {EVENT_LINE} bytes"));
    }
    let signed: Signed = serde_json::from_str(&line.text).map_err(|error| error.to_string())?;
    // A VM that waits to be saved has no job yet.
    let is_signed = signed.token == token || signed.event == Event::Waiting;
    if !is_signed && !token.is_empty() {
        return Err("it is forged: it lacks the token of this run".to_owned());
    }
    Ok(signed.event)
}
