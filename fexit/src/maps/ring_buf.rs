//! Ring buffers.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_RINGBUF;

use super::{Map, MapError, views};
use crate::sys::memory::SharedMemory;
use crate::sys::page_size;
use crate::sys::perf::wait_readable;

/// The header of a record: its length, with two flags, and a word of the kernel's.
const HEADER: usize = 8;
const BUSY: u32 = 1 << 31;
const DISCARD: u32 = 1 << 30;

/// The reader of a ring buffer, `BPF_MAP_TYPE_RINGBUF`: records of all CPUs in the order in which they were reserved.
///
/// One map has one reader: two would give back each other's records.
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
    _reader: Reader,
    _map: T,
}

/// The right to read a ring buffer, given back when dropped.
struct Reader(Map);

impl Reader {
    fn new(map: &Map) -> Result<Self, MapError> {
        if map.0.has_reader.swap(true, Ordering::Acquire) {
            return Err(MapError::InUse {
                name: map.name().to_owned(),
            });
        }
        Ok(Self(map.clone()))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.0.has_reader.store(false, Ordering::Release);
    }
}

struct Ring {
    /// One page that holds how far we are.
    consumer: SharedMemory,
    /// One page that holds how far the programs are, and the data twice in a row, so that no record wraps.
    producer: SharedMemory,
    size: usize,
}

/// A record, in the ring buffer itself. It is given back when dropped.
pub struct RingBufItem<'a> {
    ring: &'a Ring,
    at: usize,
    len: usize,
    next: u64,
}

impl Deref for RingBufItem<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.ring.producer.settled(self.at, self.len)
    }
}

impl Drop for RingBufItem<'_> {
    fn drop(&mut self) {
        self.ring.consumer.store(0, self.next);
    }
}

impl fmt::Debug for RingBufItem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl Ring {
    /// The next record. Where it lies comes from memory that others may write to, another reader in another process
    /// say: what makes no sense is no record.
    fn next(&mut self) -> Option<RingBufItem<'_>> {
        loop {
            let position = self.consumer.load(0);
            let ahead = self.producer.load(0).wrapping_sub(position);
            if ahead == 0 || ahead > self.size as u64 || !position.is_multiple_of(8) {
                return None;
            }
            let at = page_size() + usize::try_from(position % self.size as u64).ok()?;
            // The word holds the length, and a page offset of the kernel's in its upper half.
            let header = self.producer.load(at) as u32;
            let len = (header & !(BUSY | DISCARD)) as usize;
            let whole = (len + HEADER).next_multiple_of(8);
            if header & BUSY != 0 || whole as u64 > ahead {
                return None;
            }
            let next = position.wrapping_add(whole as u64);
            if header & DISCARD != 0 {
                self.consumer.store(0, next);
                continue;
            }
            return Some(RingBufItem {
                ring: self,
                at: at + HEADER,
                len,
                next,
            });
        }
    }
}

impl<T: Borrow<Map>> RingBuf<T> {
    fn new(map: T) -> Result<Self, MapError> {
        let this = map.borrow();
        this.expect_kind(&[BPF_MAP_TYPE_RINGBUF as u32], "ringbuf")?;
        let fd = this.fd()?;
        let reader = Reader::new(this)?;
        let size = this.max_entries() as usize;
        let memory = |offset, len, writable| {
            SharedMemory::map(fd, offset, len, writable).map_err(this.error("mmap"))
        };
        let ring = Ring {
            consumer: memory(0, page_size(), true)?,
            producer: memory(page_size(), page_size() + 2 * size, false)?,
            size,
        };
        let fd = fd.try_clone_to_owned().map_err(this.error("dup"))?;
        Ok(Self {
            ring,
            fd,
            _reader: reader,
            _map: map,
        })
    }
}

impl<T> RingBuf<T> {
    /// The next record, if there is one.
    ///
    /// A record that a program has reserved and not yet submitted holds back those behind it.
    #[allow(clippy::should_implement_trait)] // a record borrows from the reader
    pub fn next(&mut self) -> Option<RingBufItem<'_>> {
        self.ring.next()
    }

    /// Waits until there may be a record; `false` when the time is over first. Without a timeout it waits for ever.
    ///
    /// # Errors
    ///
    /// [`MapError::SyscallError`], `EINTR` when a signal came.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<bool, MapError> {
        let error = self._reader.0.error("poll");
        wait_readable(&[self.as_fd()], timeout).map_err(error)
    }
}

impl<T> AsFd for RingBuf<T> {
    /// Readable when there is a record: for an event loop of your own.
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
        f.debug_tuple("RingBuf").field(&self._reader.0).finish()
    }
}

views!(RingBuf);

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 4096;

    /// A ring in a file, and the hand that the kernel writes it with.
    fn ring() -> (Ring, SharedMemory) {
        let file = tempfile::tempfile().unwrap();
        let len = 2 * page_size() + 2 * SIZE;
        file.set_len(len as u64).unwrap();
        let memory = |offset, len| SharedMemory::map(file.as_fd(), offset, len, true).unwrap();
        let ring = Ring {
            consumer: memory(0, page_size()),
            producer: memory(page_size(), page_size() + 2 * SIZE),
            size: SIZE,
        };
        (ring, memory(page_size(), page_size() + 2 * SIZE))
    }

    fn record(kernel: &SharedMemory, at: u64, len: u32, data: &[u8]) {
        let start = page_size() + at as usize % SIZE;
        kernel.write(start, &len.to_ne_bytes());
        kernel.write(start + HEADER, data);
    }

    #[test]
    fn records_come_in_order_and_what_was_discarded_is_passed_over() {
        let (mut ring, kernel) = ring();
        assert!(ring.next().is_none());
        record(&kernel, 0, 3, b"one");
        record(&kernel, 16, 3 | DISCARD, b"two");
        record(&kernel, 32, 5, b"three");
        kernel.store(0, 48);
        assert_eq!(ring.next().as_deref(), Some(&b"one"[..]));
        assert_eq!(ring.next().as_deref(), Some(&b"three"[..]));
        assert!(ring.next().is_none());
        record(&kernel, 48, 4 | BUSY, b"four");
        kernel.store(0, 64);
        assert!(ring.next().is_none(), "it is not written yet");
    }

    #[test]
    fn positions_that_make_no_sense_are_no_record_and_no_panic() {
        for (consumer, producer) in [(1 << 40, 64), (3, 64), (0, 1 << 40), (64, 0)] {
            let (mut ring, kernel) = ring();
            ring.consumer.store(0, consumer);
            kernel.store(0, producer);
            assert!(ring.next().is_none(), "{consumer} {producer}");
        }
        let (mut ring, kernel) = ring();
        record(&kernel, 0, 0x3fff_ffff, b"far too long");
        kernel.store(0, 64);
        assert!(ring.next().is_none());
    }
}
