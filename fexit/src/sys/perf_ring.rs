//! The reader's side of the buffer of a perf event.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::BorrowedFd;

use super::mmap::SharedMemory;
use super::page_size;

// Offsets in `struct perf_event_mmap_page`, the first page of the mapping.
const DATA_HEAD: usize = 1024;
const DATA_TAIL: usize = 1032;

const RECORD_LOST: u32 = 2;
const RECORD_SAMPLE: u32 = 9;
/// `struct perf_event_header`: type, flags, size of the record with the header.
const HEADER: usize = 8;

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
    /// Records of this CPU that did not fit.
    Lost {
        /// How many.
        count: u64,
    },
}

/// The reader of one event's buffer, which owns the mapping.
pub(crate) struct Ring {
    memory: SharedMemory,
    size: usize,
}

impl Ring {
    /// Opens the buffer of an event with that many pages, rounded up to a power of two.
    pub(crate) fn open(event: BorrowedFd<'_>, pages: usize) -> io::Result<Self> {
        let size = pages.max(1).next_power_of_two() * page_size();
        let memory = SharedMemory::map(event, 0, page_size() + size, true)?;
        Ok(Self { memory, size })
    }

    pub(crate) fn is_readable(&self) -> bool {
        self.memory.load(DATA_HEAD) != self.memory.load(DATA_TAIL)
    }

    pub(crate) fn try_fold<B, C, F>(&mut self, init: C, mut f: F) -> ControlFlow<B, C>
    where
        F: FnMut(C, PerfEvent<'_>) -> ControlFlow<B, C>,
    {
        let head = self.memory.load(DATA_HEAD);
        let mut tail = self.memory.load(DATA_TAIL);
        let mut result = ControlFlow::Continue(init);
        while tail < head
            && let ControlFlow::Continue(value) = result
        {
            let [a, b, c, d, _, _, low, high] = self.word(tail);
            let kind = u32::from_ne_bytes([a, b, c, d]);
            let size = usize::from(u16::from_ne_bytes([low, high]));
            // The kernel writes no such size; it would cause a loop or a read outside of the record.
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
        // Released last: until here the kernel does not overwrite the records.
        self.memory.store(DATA_TAIL, tail);
        result
    }

    fn event(&self, kind: u32, body: u64, len: usize) -> Option<PerfEvent<'_>> {
        match kind {
            RECORD_SAMPLE if len >= 4 => {
                let [a, b, c, d, ..] = self.word(body);
                let sent = (u32::from_ne_bytes([a, b, c, d]) as usize).min(len - 4);
                let (head, tail) = self.bytes(body + 4, sent);
                Some(PerfEvent::Sample { head, tail })
            }
            // An id, and the number.
            RECORD_LOST if len >= 16 => Some(PerfEvent::Lost {
                count: u64::from_ne_bytes(self.word(body + 8)),
            }),
            _ => None,
        }
    }

    fn offset(&self, position: u64) -> usize {
        usize::try_from(position % self.size as u64).unwrap_or(0)
    }

    /// The word at a position. Positions are multiples of eight, so that no word wraps.
    fn word(&self, position: u64) -> [u8; 8] {
        let mut word = [0; 8];
        let start = self.offset(position) & !7;
        self.memory.read(page_size() + start, &mut word);
        word
    }

    /// Bytes, which may wrap at the end of the buffer.
    fn bytes(&self, position: u64, len: usize) -> (&[u8], &[u8]) {
        let start = self.offset(position);
        let first = len.min(self.size - start);
        // SAFETY: the kernel does not write between tail and head, and the tail moves on only in `try_fold`, when
        // nothing borrows from here any more.
        unsafe {
            (
                self.memory.as_slice(page_size() + start, first),
                self.memory.as_slice(page_size(), len - first),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

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
    fn record_at_the_break_is_consumed_and_later_ones_stay() {
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
