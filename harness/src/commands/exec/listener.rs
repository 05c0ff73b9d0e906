//! The events of a VM with one program: its streams are passed on once it runs.

use std::sync::{Arc, atomic::AtomicBool};

use protocol::{
    event::{Event, Exit},
    job,
};

use super::{
    out::Copies,
    relay::{self, Relay},
    terminal::Raw,
};
use crate::{
    report::terminal::Line,
    support::{interrupt::Interrupt, sanitize::one_line},
    vm::VmEvent,
};

/// Handles the events of the VM.
pub(super) struct Listener<'a> {
    has_terminal: bool,
    line: &'a Line,
    /// Until the program has started, as the ends.
    files: Option<Copies>,
    pub(super) exit: Option<Exit>,
    pub(super) relay: Option<Relay>,
    ends: Option<relay::Ends>,
    raw: Option<Raw>,
    /// Whether the user has left the terminal.
    pub(super) left: Arc<AtomicBool>,
}

impl<'a> Listener<'a> {
    /// Passes the program's streams between these ends once it runs, and copies these files after it.
    pub(super) fn new(
        streams: job::Streams,
        line: &'a Line,
        ends: relay::Ends,
        files: Copies,
    ) -> Self {
        Self {
            has_terminal: matches!(streams, job::Streams::Terminal(_)),
            line,
            files: Some(files),
            exit: None,
            relay: None,
            ends: Some(ends),
            raw: None,
            left: Arc::default(),
        }
    }

    pub(super) fn take(&mut self, event: VmEvent, interrupt: &Interrupt) {
        match event {
            VmEvent::Guest(Event::Running) => {
                self.line.hide();
                if self.has_terminal {
                    // The shell works without it, but not with all keys.
                    self.raw = Raw::enter()
                        .inspect_err(|error| eprintln!("harness: {error:#}"))
                        .ok();
                }
                if let (Some(ends), Some(files)) = (self.ends.take(), self.files.take()) {
                    let left = self.has_terminal.then(|| Arc::clone(&self.left));
                    self.relay = Some(Relay::start(ends, files, interrupt.stop(), left));
                }
            }
            VmEvent::Guest(Event::Exited { how, .. }) => self.exit = Some(how),
            VmEvent::Guest(Event::Warning { message } | Event::CannotGoOn { message }) => {
                eprintln!("harness: {}", one_line(&message));
            }
            VmEvent::Console(text) if self.relay.is_none() => self.line.detail(&text),
            _ => {}
        }
    }
}
