//! The consumer of a BPF ring buffer, see kernel/bpf/ringbuf.c.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, PoisonError};

use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_RINGBUF;

use super::mmap::{self, SharedMemory};
use super::{map_info, page_size};

/// The header of a record: its length, with two flags, and a word that the kernel uses.
const HEADER: usize = 8;
const BUSY: u32 = 1 << 31;
const DISCARD: u32 = 1 << 30;

/// The ids of the ring buffers that this process reads.
static READ: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// The exclusive right to read the ring buffer with this id, until it is dropped.
struct Reader(u32);

impl Reader {
    fn new(id: u32) -> Option<Self> {
        let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
        read.insert(id).then(|| Self(id))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
        read.remove(&self.0);
    }
}

/// Why a ring buffer cannot be read.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// This process has a reader already.
    InUse,
    /// A call failed.
    Call(&'static str, io::Error),
}

/// A ring buffer, open for reading at most once in a process.
pub(crate) struct Ring {
    /// The page with the consumer position.
    consumer: SharedMemory,
    /// The page with the producer position, then the data, mapped twice so that no record wraps.
    producer: SharedMemory,
    size: usize,
    _reader: Option<Reader>,
}

/// A record in the memory of the ring buffer, which is released when this is dropped.
pub struct RingBufItem<'a> {
    ring: &'a Ring,
    at: usize,
    len: usize,
    next: u64,
}

impl Deref for RingBufItem<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the kernel writes nothing to a record that was submitted until it is given back, and that is only
        // done when this is dropped: `Ring::next` makes no other item meanwhile, and the process has no other reader.
        unsafe { self.ring.producer.as_slice(self.at, self.len) }
    }
}

impl Drop for RingBufItem<'_> {
    fn drop(&mut self) {
        self.ring.give_back(self.next);
    }
}

impl fmt::Debug for RingBufItem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl Ring {
    /// Opens the ring buffer of a map.
    pub(crate) fn open(map: BorrowedFd<'_>) -> Result<Self, Refusal> {
        let info = map_info(map).map_err(|error| Refusal::Call("BPF_OBJ_GET_INFO_BY_FD", error))?;
        if info.type_ != BPF_MAP_TYPE_RINGBUF as u32 {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "it is no ring buffer");
            return Err(Refusal::Call("mmap", error));
        }
        let reader = Reader::new(info.id).ok_or(Refusal::InUse)?;
        let size = info.max_entries as usize;
        let memory = |offset, len, writable| {
            SharedMemory::map(map, offset, len, writable)
                .map_err(|error| Refusal::Call("mmap", error))
        };
        Ok(Self {
            consumer: memory(0, page_size(), true)?,
            producer: memory(page_size(), page_size() + 2 * size, false)?,
            size,
            _reader: Some(reader),
        })
    }

    /// Releases all records before `position`.
    ///
    /// A program that submits a record wakes the reader only if the consumer position is at that record. So the store
    /// of the position must be visible before the next record is loaded: the kernel has a full fence between its store
    /// and load, and this is the reader's.
    fn give_back(&self, position: u64) {
        self.consumer.store(0, position);
        mmap::fence();
    }

    /// The next record. Its position comes from memory that other processes may write to: an invalid one is no record.
    pub(crate) fn next(&mut self) -> Option<RingBufItem<'_>> {
        loop {
            let position = self.consumer.load(0);
            let ahead = self.producer.load(0).wrapping_sub(position);
            if ahead == 0 || ahead > self.size as u64 || !position.is_multiple_of(8) {
                return None;
            }
            let at = page_size() + usize::try_from(position % self.size as u64).ok()?;
            let header = self.producer.load_u32(at);
            let len = (header & !(BUSY | DISCARD)) as usize;
            let whole = (len + HEADER).next_multiple_of(8);
            if header & BUSY != 0 || whole as u64 > ahead {
                return None;
            }
            let next = position.wrapping_add(whole as u64);
            if header & DISCARD != 0 {
                self.give_back(next);
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

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

    use super::*;

    const SIZE: usize = 4096;

    /// A ring in a file, with the kernel's mappings: the consumer page, and the rest.
    fn ring() -> (Ring, SharedMemory, SharedMemory) {
        let file = tempfile::tempfile().unwrap();
        let len = 2 * page_size() + 2 * SIZE;
        file.set_len(len as u64).unwrap();
        let memory = |offset, len| SharedMemory::map(file.as_fd(), offset, len, true).unwrap();
        let consumer = || memory(0, page_size());
        let producer = || memory(page_size(), page_size() + 2 * SIZE);
        let ring = Ring {
            consumer: consumer(),
            producer: producer(),
            size: SIZE,
            _reader: None,
        };
        (ring, consumer(), producer())
    }

    fn record(kernel: &SharedMemory, at: u64, len: u32, data: &[u8]) {
        let start = page_size() + at as usize % SIZE;
        kernel.write(start, &len.to_ne_bytes());
        kernel.write(start + HEADER, data);
    }

    #[test]
    fn records_come_in_order_and_what_was_discarded_is_skipped() {
        let (mut ring, _, kernel) = ring();
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
            let (mut ring, _, kernel) = ring();
            ring.consumer.store(0, consumer);
            kernel.store(0, producer);
            assert!(ring.next().is_none(), "{consumer} {producer}");
        }
        let (mut ring, _, kernel) = ring();
        record(&kernel, 0, 0x3fff_ffff, b"far too long");
        kernel.store(0, 64);
        assert!(ring.next().is_none());
    }

    #[test]
    fn map_has_one_reader_per_process() {
        let first = Reader::new(u32::MAX).unwrap();
        assert!(Reader::new(u32::MAX).is_none());
        assert!(Reader::new(u32::MAX - 1).is_some());
        drop(first);
        assert!(Reader::new(u32::MAX).is_some());
    }

    /// Stores may become visible late.
    #[test]
    fn released_position_is_visible_before_the_next_record_is_loaded() {
        let (mut ring, consumer, kernel) = ring();
        record(&kernel, 0, 3, b"one");
        record(&kernel, 16, 3 | DISCARD, b"two");
        kernel.store(0, 32);
        mmap::delay_stores();
        drop(ring.next().unwrap());
        assert_eq!(consumer.load(0), 16);
        assert!(ring.next().is_none());
        assert_eq!(consumer.load(0), 32);
    }

    /// Submits records as the kernel does (`bpf_ringbuf_commit`), which wakes only a reader that has read all earlier
    /// records. A reader that finds no record must be woken for the next one.
    #[test]
    fn no_wake_up_is_lost() {
        const RECORDS: u64 = 300_000;
        const RECORD: u64 = 16;
        let (mut ring, consumer, kernel) = ring();
        let (woken, submitted, is_lost) =
            (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..RECORDS {
                    let at = number * RECORD;
                    while at + RECORD - consumer.load(0) > SIZE as u64 {
                        std::hint::spin_loop();
                        if is_lost.load(Ordering::SeqCst) {
                            return;
                        }
                    }
                    record(&kernel, at, 8 | BUSY, &[0; 8]);
                    kernel.store(0, at + RECORD);
                    kernel.store_u32(page_size() + at as usize % SIZE, 8);
                    fence(Ordering::SeqCst);
                    if consumer.load(0) == at {
                        woken.fetch_add(1, Ordering::SeqCst);
                    }
                    submitted.store(number + 1, Ordering::SeqCst);
                }
            });
            let (mut read, mut wakes) = (0, 0);
            while read < RECORDS {
                while ring.next().is_some() {
                    read += 1;
                }
                // Edge-triggered: earlier wake-ups are consumed.
                while woken.load(Ordering::SeqCst) == wakes && read < RECORDS {
                    let all_told = submitted.load(Ordering::SeqCst) > read;
                    if all_told && woken.load(Ordering::SeqCst) == wakes {
                        is_lost.store(true, Ordering::SeqCst);
                        panic!("record {read} was submitted without a wake-up");
                    }
                }
                wakes = woken.load(Ordering::SeqCst);
            }
        });
    }
}
