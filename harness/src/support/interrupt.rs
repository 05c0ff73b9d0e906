//! Ctrl-C and SIGTERM: VMs end, what is finished is written, and the exit status tells which it was.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use anyhow::{Result, bail};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::support::stop::Stop;

/// What the report says of a kernel that was not finished because of it.
pub const INTERRUPTED: &str = "interrupted";

/// How often somebody looks for an interrupt.
pub(crate) const TICK: Duration = Duration::from_millis(50);

/// Waits for a signal to end the run.
#[derive(Clone, Debug)]
pub struct Interrupt {
    stop: Stop,
    signal: Arc<AtomicUsize>,
}

impl Interrupt {
    /// From now on SIGINT and SIGTERM are heard.
    pub fn new() -> io::Result<Self> {
        let signal = Arc::new(AtomicUsize::new(0));
        for number in [SIGINT, SIGTERM] {
            // Before the stop is registered: whoever sees the stop then also sees the number.
            signal_hook::flag::register_usize(number, Arc::clone(&signal), number as usize)?;
        }
        Ok(Self {
            stop: Stop::on_signals()?,
            signal,
        })
    }

    /// What the VMs watch.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Does what may wait for a server or another harness. An interrupt does not wait for it: the work is left to the end of
    /// the process, so it must be such that a SIGKILL in it does no harm.
    pub fn or_leave<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (sender, done) = mpsc::channel();
        // Nobody listens any more after an interrupt.
        thread::spawn(move || drop(sender.send(work())));
        loop {
            match done.recv_timeout(TICK) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Timeout) if !self.stop.requested() => {}
                Err(RecvTimeoutError::Timeout) => bail!(INTERRUPTED),
                Err(RecvTimeoutError::Disconnected) => bail!("a thread of the harness panicked"),
            }
        }
    }

    /// The exit status by which a shell tells that a signal ended a program; `None` if none came.
    pub fn exit_code(&self) -> Option<u8> {
        match self.signal.load(Ordering::SeqCst) {
            0 => None,
            number => Some(128 + number as u8),
        }
    }
}
