//! Arrays of perf events.

use std::borrow::{Borrow, BorrowMut};
use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_PERF_EVENT_ARRAY;

use super::{Map, MapError, views};
use crate::sys::cpus;
use crate::sys::perf::{bpf_output_event, wait_readable};
pub use crate::sys::perf_ring::PerfEvent;
use crate::sys::perf_ring::Ring;

/// Why a buffer could not be opened.
pub type PerfBufferError = MapError;

/// The default number of pages of a buffer.
const PAGES: usize = 2;

/// An array of perf events, `BPF_MAP_TYPE_PERF_EVENT_ARRAY`: one buffer for each CPU.
///
/// # Minimum kernel version
///
/// 4.3. From 5.8 on, [`RingBuf`](super::RingBuf) keeps the order between CPUs and needs less memory. Source: kernel
/// commit ea317b267e9d ("bpf: Add new bpf map type to store the pointer to struct perf_event").
///
/// ```no_run
/// # let mut ebpf = fexit::Ebpf::load_file("prog.bpf.o")?;
/// use fexit::maps::PerfEventArray;
/// use fexit::maps::perf::{PerfEvent, wait};
///
/// let mut buffers = PerfEventArray::try_from(ebpf.map_mut("events").unwrap())?.open_all(None)?;
/// while wait(&buffers, None)? {
///     for buffer in &mut buffers {
///         buffer.for_each(|event| {
///             if let PerfEvent::Sample { head, tail } = event {
///                 println!("{} bytes", head.len() + tail.len());
///             }
///         });
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PerfEventArray<T> {
    map: Arc<T>,
}

impl<T: Borrow<Map>> PerfEventArray<T> {
    fn new(map: T) -> Result<Self, MapError> {
        let kind = [BPF_MAP_TYPE_PERF_EVENT_ARRAY as u32];
        map.borrow().expect_kind(&kind, "perf_event_array")?;
        map.borrow().fd()?;
        Ok(Self { map: Arc::new(map) })
    }
}

impl<T: BorrowMut<Map>> PerfEventArray<T> {
    /// Opens the buffer of the CPU `index`, with `pages` pages, rounded up to a power of two; 2 for `None`.
    ///
    /// # Errors
    ///
    /// What the kernel answered: without root it takes `CAP_PERFMON`.
    pub fn open(
        &mut self,
        index: u32,
        page_count: Option<usize>,
    ) -> Result<PerfEventArrayBuffer<T>, PerfBufferError> {
        let map: &Map = (*self.map).borrow();
        let pages = page_count.unwrap_or(PAGES);
        let event = bpf_output_event(index).map_err(map.error("perf_event_open"))?;
        let ring = Ring::open(event.as_fd(), pages).map_err(map.error("mmap"))?;
        map.update(&index.to_ne_bytes(), &event.as_raw_fd().to_ne_bytes(), 0)?;
        Ok(PerfEventArrayBuffer {
            map: Arc::clone(&self.map),
            cpu: index,
            event,
            ring,
        })
    }

    /// Opens the buffers of all online CPUs: [`PerfEventArray::open`] for each.
    ///
    /// # Errors
    ///
    /// Those of [`PerfEventArray::open`].
    pub fn open_all(
        &mut self,
        page_count: Option<usize>,
    ) -> Result<Vec<PerfEventArrayBuffer<T>>, PerfBufferError> {
        let map: &Map = (*self.map).borrow();
        let cpus = cpus::online_cpus().map_err(map.error("reading the list of CPUs"))?;
        let open = |cpu| self.open(cpu, page_count);
        cpus.into_iter().map(open).collect()
    }
}

views!(PerfEventArray);

/// The records of programs on one CPU. It is closed when dropped.
pub struct PerfEventArrayBuffer<T> {
    map: Arc<T>,
    cpu: u32,
    event: OwnedFd,
    ring: Ring,
}

impl<T> PerfEventArrayBuffer<T> {
    /// The CPU.
    pub fn cpu(&self) -> u32 {
        self.cpu
    }

    /// Whether there is a record.
    pub fn readable(&self) -> bool {
        self.ring.is_readable()
    }

    /// Calls `f` with each record.
    pub fn for_each<F: FnMut(PerfEvent<'_>)>(&mut self, mut f: F) {
        self.fold((), |(), event| f(event));
    }

    /// Folds all records into one value.
    pub fn fold<C, F: FnMut(C, PerfEvent<'_>) -> C>(&mut self, init: C, mut f: F) -> C {
        let all = self.try_fold::<std::convert::Infallible, _, _>(init, |value, event| {
            ControlFlow::Continue(f(value, event))
        });
        let ControlFlow::Continue(value) = all;
        value
    }

    /// Folds records into one value until `f` breaks. The record at which it breaks is consumed.
    pub fn try_fold<B, C, F>(&mut self, init: C, f: F) -> ControlFlow<B, C>
    where
        F: FnMut(C, PerfEvent<'_>) -> ControlFlow<B, C>,
    {
        self.ring.try_fold(init, f)
    }
}

/// Waits until one of the buffers has a record; `false` at the timeout. Without a timeout it waits without a limit.
///
/// # Errors
///
/// [`MapError::SyscallError`]: `EINTR` when a signal came; at once when there is no buffer to wait for.
pub fn wait<T: Borrow<Map>>(
    buffers: &[PerfEventArrayBuffer<T>],
    timeout: Option<Duration>,
) -> Result<bool, MapError> {
    let Some(first) = buffers.first() else {
        return Err(MapError::SyscallError {
            name: String::new(),
            call: "poll",
            io_error: io::Error::new(
                io::ErrorKind::InvalidInput,
                "there is no buffer to wait for; open one first",
            ),
        });
    };
    let fds: Vec<_> = buffers.iter().map(AsFd::as_fd).collect();
    wait_readable(&fds, timeout).map_err(Borrow::<Map>::borrow(&*first.map).error("poll"))
}

impl<T> AsFd for PerfEventArrayBuffer<T> {
    /// Readable when there is a record: for an event loop of your own.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl<T> AsRawFd for PerfEventArrayBuffer<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.event.as_raw_fd()
    }
}

impl<T> fmt::Debug for PerfEventArrayBuffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("PerfEventArrayBuffer");
        out.field("cpu", &self.cpu).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_no_buffer_is_an_error_and_does_not_block() {
        let none: [PerfEventArrayBuffer<Map>; 0] = [];
        let error = wait(&none, None).unwrap_err();
        assert!(error.to_string().contains("no buffer"), "{error}");
    }
}
