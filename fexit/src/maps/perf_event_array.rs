//! Arrays of perf events.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_PERF_EVENT_ARRAY;

use super::create::online_cpus;
use super::{Map, MapError};
use crate::sys;
use crate::sys::memory::SharedMemory;
use crate::sys::page_size;
use crate::sys::perf::{bpf_output_event, wait_readable};

// Offsets in `struct perf_event_mmap_page`, the first page of the mapping.
const DATA_HEAD: usize = 1024;
const DATA_TAIL: usize = 1032;

const RECORD_LOST: u32 = 2;
const RECORD_SAMPLE: u32 = 9;
/// `struct perf_event_header`: type, flags, size of the record with the header.
const HEADER: usize = 8;

/// The reader of an array of perf events, `BPF_MAP_TYPE_PERF_EVENT_ARRAY`: one buffer for each CPU.
///
/// # Minimum kernel version
///
/// 4.3. From 5.8 on, [`RingBuf`](super::RingBuf) keeps the order between CPUs and needs less memory.
#[derive(Debug)]
pub struct PerfEventArray {
    map: Map,
    buffers: Vec<Buffer>,
}

#[derive(Debug)]
struct Buffer {
    cpu: u32,
    event: OwnedFd,
    memory: SharedMemory,
    size: usize,
}

/// What was in a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PerfRecord {
    /// What a program sent from this CPU. The kernel may have put up to seven zero bytes behind it.
    Sample {
        /// The CPU.
        cpu: u32,
        /// The bytes.
        data: Vec<u8>,
    },
    /// So many records of this CPU did not fit.
    Lost {
        /// The CPU.
        cpu: u32,
        /// How many.
        count: u64,
    },
}

impl PerfEventArray {
    /// Opens the map with a buffer of `pages` pages, a power of two, for each CPU that is on.
    ///
    /// # Errors
    ///
    /// [`MapError::UnexpectedMapType`], or what the kernel answered: without root it takes `CAP_PERFMON`.
    pub fn open(map: &Map, pages: usize) -> Result<Self, MapError> {
        map.expect_kind(&[BPF_MAP_TYPE_PERF_EVENT_ARRAY as u32], "perf_event_array")?;
        let fd = map.fd()?;
        let size = pages.max(1).next_power_of_two() * page_size();
        let cpus = online_cpus().map_err(map.error("reading the list of CPUs"))?;
        let buffer = |cpu: u32| {
            let event = bpf_output_event(cpu).map_err(map.error("perf_event_open"))?;
            let memory = SharedMemory::map(event.as_fd(), 0, page_size() + size, true)
                .map_err(map.error("mmap"))?;
            let number = std::os::fd::AsRawFd::as_raw_fd(&event);
            sys::map_update(fd, &cpu.to_ne_bytes(), &number.to_ne_bytes(), 0)
                .map_err(map.error("BPF_MAP_UPDATE_ELEM"))?;
            Ok(Buffer {
                cpu,
                event,
                memory,
                size,
            })
        };
        let buffers = cpus
            .into_iter()
            .map(buffer)
            .collect::<Result<_, MapError>>()?;
        Ok(Self {
            map: map.clone(),
            buffers,
        })
    }

    /// All records that are there, by CPU.
    pub fn records(&mut self) -> Vec<PerfRecord> {
        self.buffers.iter_mut().flat_map(Buffer::drain).collect()
    }

    /// Waits until there is a record; `false` when the time is over first. Without a timeout it waits for ever.
    ///
    /// # Errors
    ///
    /// [`MapError::SyscallError`], `EINTR` when a signal came.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<bool, MapError> {
        let fds: Vec<BorrowedFd<'_>> = self.buffers.iter().map(|b| b.event.as_fd()).collect();
        wait_readable(&fds, timeout).map_err(self.map.error("poll"))
    }
}

impl Buffer {
    fn drain(&mut self) -> Vec<PerfRecord> {
        let head = self.memory.load(DATA_HEAD);
        let mut tail = self.memory.load(DATA_TAIL);
        let mut records = Vec::new();
        while tail < head {
            let header = self.bytes(tail, HEADER);
            let kind = word(&header, 0);
            let size = u64::from(u16::from_ne_bytes([header[6], header[7]]));
            if size < HEADER as u64 {
                break; // never written by a kernel; a loop otherwise
            }
            let body = self.bytes(tail + HEADER as u64, size as usize - HEADER);
            records.extend(self.record(kind, &body));
            tail += size;
        }
        self.memory.store(DATA_TAIL, tail);
        records
    }

    fn record(&self, kind: u32, body: &[u8]) -> Option<PerfRecord> {
        let cpu = self.cpu;
        match kind {
            RECORD_SAMPLE => {
                let len = word(body, 0) as usize;
                Some(PerfRecord::Sample {
                    cpu,
                    data: body.get(4..4 + len)?.to_vec(),
                })
            }
            RECORD_LOST => {
                let count = u64::from_ne_bytes(body.get(8..16)?.try_into().ok()?);
                Some(PerfRecord::Lost { cpu, count })
            }
            _ => None,
        }
    }

    /// Bytes of the ring, which may wrap at its end.
    fn bytes(&self, position: u64, len: usize) -> Vec<u8> {
        let start = usize::try_from(position % self.size as u64).unwrap_or(0);
        let len = len.min(self.size);
        let first = len.min(self.size - start);
        let mut out = vec![0; len];
        let (head, rest) = out.split_at_mut(first);
        self.memory.read(page_size() + start, head);
        self.memory.read(page_size(), rest);
        out
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u32::from_ne_bytes)
}
