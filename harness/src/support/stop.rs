//! Requests to stop all VMs, by another thread or by a signal.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::write;
use rustix::pipe::{PipeFlags, pipe_with};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

/// A request to stop, shared by all clones. It cannot be revoked.
///
/// It is a pipe that is written but never read: a byte in it ends every present and later wait.
#[derive(Clone, Debug)]
pub struct Stop(Arc<(OwnedFd, OwnedFd)>);

impl Stop {
    /// A stop that is not requested yet.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(pipe_with(
            PipeFlags::CLOEXEC | PipeFlags::NONBLOCK,
        )?)))
    }

    /// A stop that SIGINT and SIGTERM request. A second signal ends the harness at once, and with it all VMs.
    pub fn on_signals() -> io::Result<Self> {
        let stop = Self::new()?;
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register_conditional_default(signal, Arc::clone(&asked))?;
            signal_hook::flag::register(signal, Arc::clone(&asked))?;
            pipe::register(signal, stop.0.1.try_clone()?)?;
        }
        Ok(stop)
    }

    /// Requests the stop.
    pub fn request(&self) {
        // It fails only if the pipe is full of requests.
        let _ = write(&self.0.1, &[0]);
    }

    /// Whether a stop was requested.
    pub fn requested(&self) -> bool {
        self.wait(Duration::ZERO)
    }

    /// Waits until a stop is requested, or for `limit`; whether it was requested.
    pub(crate) fn wait(&self, limit: Duration) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(self.readable(), PollFlags::IN)];
        let limit = Timespec::try_from(limit).ok();
        poll(&mut fds, limit.as_ref()).is_ok_and(|ready| ready > 0)
    }

    /// Becomes readable when a stop is requested, and stays readable.
    pub(crate) fn readable(&self) -> BorrowedFd<'_> {
        self.0.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_request_reaches_every_clone_and_persists() {
        let stop = Stop::new().unwrap();
        let other = stop.clone();
        assert!(!stop.requested() && !other.requested());
        other.request();
        other.request();
        assert!(stop.requested() && stop.requested() && other.requested());
    }
}
