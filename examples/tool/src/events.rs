//! Reads records from a ring buffer or from perf buffers.

use std::io;
use std::time::Duration;

use anyhow::Result;
use fexit::Map;
use fexit::maps::perf::{self, PerfEvent, PerfEventArrayBuffer};
use fexit::maps::{MapError, PerfEventArray, RingBuf};

/// Pages of each CPU's perf buffer.
const PERF_PAGES: usize = 16;

/// The buffer of the records: a ring buffer, or before 5.8 perf buffers.
#[derive(Debug)]
pub enum Events {
    /// Records in order.
    Ring(RingBuf<Map>),
    /// Records in order for each CPU.
    Perf(Vec<PerfEventArrayBuffer<Map>>),
}

impl Events {
    pub(crate) fn open(map: Map, by_ring: bool) -> Result<Self> {
        Ok(if by_ring {
            Self::Ring(map.try_into()?)
        } else {
            Self::Perf(PerfEventArray::try_from(map)?.open_all(Some(PERF_PAGES))?)
        })
    }

    /// Waits until there may be a record, the time is over, or a signal came.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn wait(&self, timeout: Duration) -> Result<()> {
        let waited = match self {
            Self::Ring(ring) => ring.wait(Some(timeout)),
            Self::Perf(buffers) => perf::wait(buffers, Some(timeout)),
        };
        match waited {
            Err(MapError::SyscallError { io_error, .. })
                if io_error.kind() == io::ErrorKind::Interrupted =>
            {
                Ok(())
            }
            other => Ok(other.map(drop)?),
        }
    }

    /// Passes each available record to `take`.
    ///
    /// # Errors
    ///
    /// The first error of `take`.
    pub fn drain(&mut self, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        match self {
            Self::Ring(ring) => {
                while let Some(record) = ring.next() {
                    take(&record)?;
                }
            }
            Self::Perf(buffers) => {
                let mut result = Ok(());
                for buffer in buffers {
                    buffer.for_each(|event| match event {
                        PerfEvent::Sample { head, tail } if result.is_ok() => {
                            result = take(&[head, tail].concat());
                        }
                        // The programs count lost records themselves.
                        _ => {}
                    });
                }
                result?;
            }
        }
        Ok(())
    }
}
