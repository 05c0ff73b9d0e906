//! Ctrl-C and SIGTERM: VMs end, finished results are written, and the exit status names the signal.

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use anyhow::{Result, bail};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::support::stop::Stop;

/// The error of a kernel that did not finish because of an interrupt.
pub const INTERRUPTED: &str = "interrupted";

/// The interval of checks for an interrupt.
pub(crate) const TICK: Duration = Duration::from_millis(50);

/// SIGINT or SIGTERM, which end the run.
#[derive(Clone, Debug)]
pub struct Interrupt {
    stop: Stop,
    signal: Arc<AtomicUsize>,
    cause: Arc<OnceLock<String>>,
}

/// Whether an error says that the run was ended, by a signal or by [`Interrupt::cancel`].
pub fn is_interruption(error: &str) -> bool {
    error == INTERRUPTED || error.starts_with(CANCELLED)
}

const CANCELLED: &str = "stopped by ";

impl Interrupt {
    /// Handles SIGINT and SIGTERM from now on.
    pub fn new() -> io::Result<Self> {
        let signal = Arc::new(AtomicUsize::new(0));
        for number in [SIGINT, SIGTERM] {
            // Registered before the stop, so that the number is set when the stop is requested.
            signal_hook::flag::register_usize(number, Arc::clone(&signal), number as usize)?;
        }
        Ok(Self {
            stop: Stop::on_signals()?,
            signal,
            cause: Arc::default(),
        })
    }

    /// Ends the run without a signal, as `--fail-fast` does: `by` says what ends it, and why.
    pub fn cancel(&self, by: &str) {
        let _ = self.cause.set(format!("{CANCELLED}{by}"));
        self.stop.request();
    }

    /// The error of a kernel that did not finish.
    pub fn why(&self) -> String {
        let cause = self.cause.get().filter(|_| self.exit_code().is_none());
        cause.cloned().unwrap_or_else(|| INTERRUPTED.to_owned())
    }

    /// The stop that VMs poll.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Runs work that may wait for a server or another harness. An interrupt returns at once; the work then runs until the
    /// process ends, so a SIGKILL must do no harm to it.
    pub fn or_leave<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (sender, done) = mpsc::channel();
        // After an interrupt there is no receiver.
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

    /// 128 plus the number of the signal, as in a shell; `None` without a signal.
    pub fn exit_code(&self) -> Option<u8> {
        match self.signal.load(Ordering::SeqCst) {
            0 => None,
            number => Some(128 + number as u8),
        }
    }
}
