//! Arrays of perf events.

use std::borrow::{Borrow, BorrowMut};
use std::fmt;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_PERF_EVENT_ARRAY;

use super::create::online_cpus;
use super::{Map, MapError, views};
use crate::sys::memory::SharedMemory;
use crate::sys::page_size;
use crate::sys::perf::{bpf_output_event, wait_readable};

/// Why a buffer could not be opened.
pub type PerfBufferError = MapError;

// Offsets in `struct perf_event_mmap_page`, the first page of the mapping.
const DATA_HEAD: usize = 1024;
const DATA_TAIL: usize = 1032;

const RECORD_LOST: u32 = 2;
const RECORD_SAMPLE: u32 = 9;
/// `struct perf_event_header`: type, flags, size of the record with the header.
const HEADER: usize = 8;

/// Pages of a buffer unless the caller says otherwise.
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
    /// Opens the buffer of the CPU `index`, with so many pages, rounded up to a power of two; 2 for `None`.
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
        let size = page_count.unwrap_or(PAGES).max(1).next_power_of_two() * page_size();
        let event = bpf_output_event(index).map_err(map.error("perf_event_open"))?;
        let memory = SharedMemory::map(event.as_fd(), 0, page_size() + size, true)
            .map_err(map.error("mmap"))?;
        map.update(&index.to_ne_bytes(), &event.as_raw_fd().to_ne_bytes(), 0)?;
        Ok(PerfEventArrayBuffer {
            map: Arc::clone(&self.map),
            cpu: index,
            event,
            ring: Ring { memory, size },
        })
    }

    /// Opens the buffers of all CPUs that are on: [`PerfEventArray::open`] for each.
    ///
    /// # Errors
    ///
    /// Those of [`PerfEventArray::open`].
    pub fn open_all(
        &mut self,
        page_count: Option<usize>,
    ) -> Result<Vec<PerfEventArrayBuffer<T>>, PerfBufferError> {
        let map: &Map = (*self.map).borrow();
        let cpus = online_cpus().map_err(map.error("reading the list of CPUs"))?;
        let open = |cpu| self.open(cpu, page_count);
        cpus.into_iter().map(open).collect()
    }
}

views!(PerfEventArray);

/// What programs on one CPU sent. It is closed when dropped.
pub struct PerfEventArrayBuffer<T> {
    map: Arc<T>,
    cpu: u32,
    event: OwnedFd,
    ring: Ring,
}

/// One record of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerfEvent<'a> {
    /// What a program sent: `head`, and behind it `tail`, which is empty unless the record wraps at the buffer's end.
    /// The kernel may have put up to seven zero bytes behind it.
    Sample {
        /// The first bytes.
        head: &'a [u8],
        /// The rest.
        tail: &'a [u8],
    },
    /// So many records of this CPU did not fit.
    Lost {
        /// How many.
        count: u64,
    },
}

impl<T> PerfEventArrayBuffer<T> {
    /// The CPU.
    pub fn cpu(&self) -> u32 {
        self.cpu
    }

    /// Whether there is a record.
    pub fn readable(&self) -> bool {
        self.ring.memory.load(DATA_HEAD) != self.ring.memory.load(DATA_TAIL)
    }

    /// Hands on each record that is there.
    pub fn for_each<F: FnMut(PerfEvent<'_>)>(&mut self, mut f: F) {
        self.fold((), |(), event| f(event));
    }

    /// Folds all records that are there into one value.
    pub fn fold<C, F: FnMut(C, PerfEvent<'_>) -> C>(&mut self, init: C, mut f: F) -> C {
        let all = self.try_fold::<std::convert::Infallible, _, _>(init, |value, event| {
            ControlFlow::Continue(f(value, event))
        });
        let ControlFlow::Continue(value) = all;
        value
    }

    /// Folds records into one value until `f` breaks; the record that it broke at is read.
    pub fn try_fold<B, C, F>(&mut self, init: C, f: F) -> ControlFlow<B, C>
    where
        F: FnMut(C, PerfEvent<'_>) -> ControlFlow<B, C>,
    {
        self.ring.try_fold(init, f)
    }
}

/// Waits until one of the buffers has a record; `false` when the time is over first. Without a timeout it waits for
/// ever.
///
/// # Errors
///
/// [`MapError::SyscallError`], `EINTR` when a signal came.
pub fn wait<T: Borrow<Map>>(
    buffers: &[PerfEventArrayBuffer<T>],
    timeout: Option<Duration>,
) -> Result<bool, MapError> {
    let fds: Vec<_> = buffers.iter().map(AsFd::as_fd).collect();
    wait_readable(&fds, timeout).map_err(|error| match buffers.first() {
        Some(buffer) => Borrow::<Map>::borrow(&*buffer.map).error("poll")(error),
        None => MapError::SyscallError {
            name: String::new(),
            call: "poll",
            io_error: error,
        },
    })
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

struct Ring {
    memory: SharedMemory,
    size: usize,
}

impl Ring {
    fn try_fold<B, C, F>(&mut self, init: C, mut f: F) -> ControlFlow<B, C>
    where
        F: FnMut(C, PerfEvent<'_>) -> ControlFlow<B, C>,
    {
        let head = self.memory.load(DATA_HEAD);
        let mut tail = self.memory.load(DATA_TAIL);
        let mut result = ControlFlow::Continue(init);
        while tail < head
            && let ControlFlow::Continue(value) = result
        {
            let header = self.word(tail);
            let (kind, size) = (header as u32, (header >> 48) as usize);
            // No kernel writes such sizes; a loop, or bytes of others, if one did.
            if size < HEADER || size as u64 > head - tail || size > self.size {
                tail = head;
                result = ControlFlow::Continue(value);
                break;
            }
            result = match self.event(kind, tail + HEADER as u64, size - HEADER) {
                Some(event) => f(value, event),
                None => ControlFlow::Continue(value),
            };
            tail += size as u64;
        }
        // Given back at last: until here the kernel writes nothing over what was read.
        self.memory.store(DATA_TAIL, tail);
        result
    }

    fn event(&self, kind: u32, body: u64, len: usize) -> Option<PerfEvent<'_>> {
        match kind {
            RECORD_SAMPLE if len >= 4 => {
                let sent = (self.word(body) as u32 as usize).min(len - 4);
                let (head, tail) = self.bytes(body + 4, sent);
                Some(PerfEvent::Sample { head, tail })
            }
            // An id, and the number.
            RECORD_LOST if len >= 16 => Some(PerfEvent::Lost {
                count: self.word(body + 8),
            }),
            _ => None,
        }
    }

    fn offset(&self, position: u64) -> usize {
        usize::try_from(position % self.size as u64).unwrap_or(0)
    }

    /// The word at a position, all of which are multiples of eight: none wraps.
    fn word(&self, position: u64) -> u64 {
        let mut word = [0; 8];
        let start = self.offset(position) & !7;
        self.memory.read(page_size() + start, &mut word);
        u64::from_ne_bytes(word)
    }

    /// Bytes that may wrap at the end.
    fn bytes(&self, position: u64, len: usize) -> (&[u8], &[u8]) {
        let start = self.offset(position);
        let first = len.min(self.size - start);
        (
            self.memory.settled(page_size() + start, first),
            self.memory.settled(page_size(), len - first),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 4096;

    fn ring() -> Ring {
        let file = tempfile::tempfile().unwrap();
        let len = page_size() + SIZE;
        file.set_len(len as u64).unwrap();
        let memory = SharedMemory::map(file.as_fd(), 0, len, true).unwrap();
        Ring { memory, size: SIZE }
    }

    fn put(ring: &Ring, position: u64, kind: u32, body: &[u8]) -> u64 {
        let size = (HEADER + body.len()).next_multiple_of(8);
        let mut record = kind.to_ne_bytes().to_vec();
        record.extend([0, 0]);
        record.extend((size as u16).to_ne_bytes());
        record.extend(body);
        for (byte, at) in record.iter().zip(position..) {
            ring.memory
                .write(page_size() + at as usize % SIZE, &[*byte]);
        }
        position + size as u64
    }

    fn all(ring: &mut Ring) -> Vec<String> {
        let ControlFlow::<(), _>::Continue(all) = ring.try_fold(Vec::new(), |mut all, event| {
            all.push(match event {
                PerfEvent::Sample { head, tail } => {
                    String::from_utf8([head, tail].concat()).unwrap()
                }
                PerfEvent::Lost { count } => count.to_string(),
            });
            ControlFlow::Continue(all)
        }) else {
            unreachable!("nothing breaks");
        };
        all
    }

    fn sample(text: &str) -> Vec<u8> {
        let mut body = (text.len() as u32).to_ne_bytes().to_vec();
        body.extend(text.as_bytes());
        body
    }

    #[test]
    fn records_come_in_order_across_the_end_and_are_given_back() {
        let mut ring = ring();
        let start = SIZE as u64 - 16;
        let next = put(&ring, start, RECORD_SAMPLE, &sample("across the end"));
        let mut lost = vec![0; 8];
        lost.extend(7u64.to_ne_bytes());
        let next = put(&ring, next, RECORD_LOST, &lost);
        let next = put(&ring, next, 1, b"of another kind");
        ring.memory.store(DATA_TAIL, start);
        ring.memory.store(DATA_HEAD, next);
        assert_eq!(all(&mut ring), ["across the end", "7"]);
        assert_eq!(ring.memory.load(DATA_TAIL), next);
        assert!(all(&mut ring).is_empty());
    }

    #[test]
    fn what_breaks_is_read_and_what_comes_behind_stays() {
        let mut ring = ring();
        let next = put(&ring, 0, RECORD_SAMPLE, &sample("one"));
        let next = put(&ring, next, RECORD_SAMPLE, &sample("two"));
        ring.memory.store(DATA_HEAD, next);
        let broke = ring.try_fold((), |(), _| ControlFlow::Break("enough"));
        assert_eq!(broke, ControlFlow::Break("enough"));
        assert_eq!(all(&mut ring), ["two"]);
    }

    #[test]
    fn sizes_that_make_no_sense_are_no_record_and_no_panic() {
        for size in [0u16, 7, 4096, u16::MAX] {
            let mut ring = ring();
            put(&ring, 0, RECORD_SAMPLE, &sample("x"));
            ring.memory.write(page_size() + 6, &size.to_ne_bytes());
            ring.memory.store(DATA_HEAD, 24);
            assert!(all(&mut ring).is_empty(), "{size}");
        }
        let mut ring = ring();
        let next = put(&ring, 0, RECORD_SAMPLE, &u32::MAX.to_ne_bytes());
        ring.memory.store(DATA_HEAD, next);
        assert_eq!(all(&mut ring).len(), 1);
    }
}
