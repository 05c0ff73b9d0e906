//! Ring buffers.

use std::borrow::Borrow;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_RINGBUF;

use super::{Map, MapError, views};
use crate::sys::perf::wait_readable;
pub use crate::sys::ring::RingBufItem;
use crate::sys::ring::{Refusal, Ring};

/// The reader of a ring buffer, `BPF_MAP_TYPE_RINGBUF`: records of all CPUs in the order in which they were reserved.
///
/// A process has at most one reader of a map, because two readers would release each other's records. Another process, or
/// another library in this one, must not read the map meanwhile.
///
/// # Minimum kernel version
///
/// 5.8. Before that, [`PerfEventArray`](super::PerfEventArray). Source: kernel commit 457f44363a88 ("bpf: Implement BPF
/// ring buffer and verifier support for it").
///
/// ```no_run
/// # let mut ebpf = fexit::Ebpf::load_file("prog.bpf.o")?;
/// use fexit::maps::RingBuf;
/// use std::time::Duration;
///
/// let mut events = RingBuf::try_from(ebpf.map_mut("events").unwrap())?;
/// while events.wait(Some(Duration::from_secs(1)))? {
///     while let Some(record) = events.next() {
///         println!("{} bytes", record.len());
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RingBuf<T> {
    ring: Ring,
    fd: OwnedFd,
    of: Map,
    _map: T,
}

impl<T: Borrow<Map>> RingBuf<T> {
    fn new(map: T) -> Result<Self, MapError> {
        let this = map.borrow();
        this.expect_kind(&[BPF_MAP_TYPE_RINGBUF as u32], "ringbuf")?;
        let fd = this.fd()?;
        let ring = Ring::open(fd).map_err(|refusal| match refusal {
            Refusal::InUse => MapError::InUse {
                name: this.name().to_owned(),
            },
            Refusal::Call(call, error) => this.error(call)(error),
        })?;
        let (fd, of) = (fd.try_clone_to_owned(), this.clone());
        Ok(Self {
            ring,
            fd: fd.map_err(this.error("dup"))?,
            of,
            _map: map,
        })
    }
}

impl<T> RingBuf<T> {
    /// The next record, if there is one.
    ///
    /// A record that a program has reserved and not submitted yet blocks later ones.
    #[allow(clippy::should_implement_trait)] // a record borrows from the reader
    pub fn next(&mut self) -> Option<RingBufItem<'_>> {
        self.ring.next()
    }

    /// Waits until there may be a record; `false` at the timeout. Without a timeout it waits without a limit.
    ///
    /// # Errors
    ///
    /// [`MapError::SyscallError`], `EINTR` when a signal came.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<bool, MapError> {
        let error = self.of.error("poll");
        wait_readable(&[self.as_fd()], timeout).map_err(error)
    }
}

impl<T> AsFd for RingBuf<T> {
    /// Readable when there is a record: for an event loop of your own. An edge-triggered one (`EPOLLET`) must
    /// read until [`RingBuf::next`] returns `None`, and is then woken by the next record.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl<T> AsRawFd for RingBuf<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl<T> fmt::Debug for RingBuf<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RingBuf").field(&self.of).finish()
    }
}

views!(RingBuf);
