//! Ring buffers.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_RINGBUF;

use super::{Map, MapError};
use crate::sys::memory::SharedMemory;
use crate::sys::page_size;
use crate::sys::perf::wait_readable;

/// The header of a record: its length, with two flags, and a word of the kernel's.
const HEADER: u64 = 8;
const BUSY: u32 = 1 << 31;
const DISCARD: u32 = 1 << 30;

/// The reader of a ring buffer, `BPF_MAP_TYPE_RINGBUF`: records of all CPUs in the order in which they were reserved.
///
/// # Minimum kernel version
///
/// 5.8. Before that, [`PerfEventArray`](super::PerfEventArray). Source: kernel commit 457f44363a88 ("bpf: Implement BPF
/// ring buffer and verifier support for it").
///
/// ```no_run
/// # let ebpf = fexit::Ebpf::load_file("prog.bpf.o")?;
/// use fexit::maps::RingBuf;
/// use std::time::Duration;
///
/// let mut events: RingBuf = ebpf.map("events").unwrap().try_into()?;
/// while events.wait(Some(Duration::from_secs(1)))? {
///     while let Some(record) = events.next_record() {
///         println!("{} bytes", record.len());
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RingBuf {
    map: Map,
    /// One page that holds how far we are.
    consumer: SharedMemory,
    /// One page that holds how far the programs are, and the data twice in a row, so that no record wraps.
    producer: SharedMemory,
    size: u64,
}

/// A record, in the ring buffer itself. It is given back when dropped.
#[derive(Debug)]
pub struct Record<'a> {
    ring: &'a RingBuf,
    at: usize,
    len: usize,
    next: u64,
}

impl std::ops::Deref for Record<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.ring.producer.settled(self.at, self.len)
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        self.ring.consumer.store(0, self.next);
    }
}

impl RingBuf {
    /// The next record, if there is one.
    ///
    /// A record that a program has reserved and not yet submitted holds back those behind it.
    pub fn next_record(&mut self) -> Option<Record<'_>> {
        loop {
            let position = self.consumer.load(0);
            if position == self.producer.load(0) {
                return None;
            }
            let at = page_size() + usize::try_from(position & (self.size - 1)).ok()?;
            // The word holds the length, and a page offset of the kernel's in its upper half.
            let header = self.producer.load(at) as u32;
            if header & BUSY != 0 {
                return None;
            }
            let len = header & !(BUSY | DISCARD);
            let next = position + (u64::from(len) + HEADER).next_multiple_of(8);
            if header & DISCARD != 0 {
                self.consumer.store(0, next);
                continue;
            }
            let at = at + HEADER as usize;
            return Some(Record {
                ring: self,
                at,
                len: len as usize,
                next,
            });
        }
    }

    /// Waits until there may be a record; `false` when the time is over first. Without a timeout it waits for ever.
    ///
    /// # Errors
    ///
    /// [`MapError::SyscallError`], `EINTR` when a signal came.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<bool, MapError> {
        wait_readable(&[self.map.fd()?], timeout).map_err(self.map.error("poll"))
    }

    /// The descriptor, readable when there is a record: for an event loop of your own.
    ///
    /// # Errors
    ///
    /// None once the view exists.
    pub fn fd(&self) -> Result<BorrowedFd<'_>, MapError> {
        self.map.fd()
    }
}

impl TryFrom<&Map> for RingBuf {
    type Error = MapError;

    /// Fails when the map is not a ring buffer, [`MapError::Unsupported`] before 5.8; creates it if need be.
    fn try_from(map: &Map) -> Result<Self, MapError> {
        map.expect_kind(&[BPF_MAP_TYPE_RINGBUF as u32], "ringbuf")?;
        let fd = map.fd()?;
        let size = map.max_entries() as usize;
        let consumer = SharedMemory::map(fd, 0, page_size(), true).map_err(map.error("mmap"))?;
        let producer = SharedMemory::map(fd, page_size(), page_size() + 2 * size, false)
            .map_err(map.error("mmap"))?;
        Ok(Self {
            map: map.clone(),
            consumer,
            producer,
            size: size as u64,
        })
    }
}
