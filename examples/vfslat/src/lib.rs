//! How long reads and writes of files take, by file system.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::Result;
use fexit::EbpfLoader;
use fexit::maps::PerCpuHashMap;
use serde_json::{Value, json};
use tool::{Events, Fields, Record, Tracer, Watched, errno, printable};

const OBJECT: &[u8] = fexit::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/vfslat.bpf.o"));

/// The number of classes of a histogram.
pub const SLOTS: usize = 32;

/// What to report.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// Also show each read and write that took at least this many microseconds; 0 for all
    #[arg(long, value_name = "US")]
    pub slower_than: Option<u64>,
    /// Pipes, sockets, terminals and devices too: reading from those is mostly waiting
    #[arg(long)]
    pub all: bool,
    /// Which process to watch.
    #[command(flatten)]
    pub watched: Watched,
}

/// Read or write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// `read(2)` and its variants.
    Read,
    /// `write(2)` and its variants.
    Write,
}

/// A slow read or write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slow {
    /// From the call to the return.
    pub latency: Duration,
    /// Bytes, or a negative errno.
    pub result: i64,
    /// The process.
    pub pid: u32,
    /// Read or write.
    pub operation: Operation,
    /// The thread's name.
    pub comm: String,
    /// The file system, as `ext4`.
    pub fs: String,
    /// The file's name, without its folder.
    pub name: String,
}

/// A histogram of latencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram(
    /// Class n counts latencies from 2^(n-1) to 2^n microseconds; class 0 less than one microsecond, the last one the rest.
    pub [u64; SLOTS],
);

/// Starts watching.
///
/// # Errors
///
/// The library's errors.
pub fn start(options: &Options) -> Result<(Tracer, Events)> {
    let mut loader = EbpfLoader::new();
    let slow_ns = options
        .slower_than
        .map_or(u64::MAX, |us| us.saturating_mul(1000));
    loader.set_global("slow_ns", &slow_ns, true);
    loader.set_global("all_kinds", &u8::from(options.all), true);
    let mut tracer = Tracer::new(OBJECT, &mut loader, &options.watched)?;
    let events = tracer.events()?;
    for (program, function) in [
        ("did_read", "vfs_read"),
        ("did_write", "vfs_write"),
        ("will_read", "vfs_read"),
        ("will_write", "vfs_write"),
    ] {
        tracer.attach(program, &[function])?;
    }
    Ok((tracer, events))
}

/// The histograms so far, by file system and operation.
///
/// # Errors
///
/// The map could not be read.
pub fn histograms(tracer: &Tracer) -> Result<BTreeMap<(String, Operation), Histogram>> {
    let map: PerCpuHashMap<_, [u8; 20], [u64; SLOTS]> = tracer.map("latencies")?.try_into()?;
    let mut all = BTreeMap::new();
    for element in map.iter() {
        let (kind, cpus) = element?;
        let mut fields = Fields::new(&kind);
        let key = (fields.text::<16>()?, operation(fields.u32()?));
        let mut sum = Histogram([0; SLOTS]);
        for cpu in cpus.iter() {
            for (sum, part) in sum.0.iter_mut().zip(cpu) {
                *sum += part;
            }
        }
        all.insert(key, sum);
    }
    Ok(all)
}

fn operation(write: u32) -> Operation {
    if write == 0 {
        Operation::Read
    } else {
        Operation::Write
    }
}

impl Record for Slow {
    const HEADER: &str = "";

    fn parse(bytes: &[u8]) -> Result<Self> {
        let mut fields = Fields::new(bytes);
        Ok(Self {
            latency: Duration::from_nanos(fields.u64()?),
            result: fields.i64()?,
            pid: fields.u32()?,
            operation: operation(fields.u32()?),
            comm: fields.text::<16>()?,
            fs: fields.text::<16>()?,
            name: fields.text::<64>()?,
        })
    }

    fn json(&self) -> Value {
        json!({
            "pid": self.pid,
            "comm": self.comm,
            "latency_us": self.latency.as_micros() as u64,
            "operation": self.operation.to_string(),
            "fs": self.fs,
            "result": self.result,
            "name": self.name,
        })
    }

    fn text(&self) -> String {
        let error = i32::try_from(-self.result)
            .ok()
            .filter(|&number| number > 0);
        let result = error.map_or_else(|| format!("{} bytes", self.result), errno);
        format!(
            "{:>7} {:16} {:>10} us  {:5} {:8} {result:16} {}",
            self.pid,
            printable(&self.comm),
            self.latency.as_micros(),
            self.operation,
            printable(&self.fs),
            printable(&self.name)
        )
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Read => "read",
            Self::Write => "write",
        })
    }
}

impl Histogram {
    /// The total count.
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl fmt::Display for Histogram {
    /// A line for each class, from the first to the last that is not empty.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WIDTH: u64 = 40;
        let most = self.0.iter().copied().max().unwrap_or(0).max(1);
        let first = self.0.iter().position(|&n| n != 0).unwrap_or(0);
        let last = self.0.iter().rposition(|&n| n != 0).unwrap_or(0);
        for (slot, &count) in self.0.iter().enumerate().take(last + 1).skip(first) {
            let from = if slot == 0 { 0 } else { 1u64 << (slot - 1) };
            let bar = usize::try_from((count * WIDTH).div_ceil(most)).unwrap_or(0);
            let label = format!("{from} us..");
            writeln!(f, "{label:>16} {count:>10} {}", "#".repeat(bar))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histogram_omits_empty_classes_at_both_ends() {
        let mut histogram = Histogram([0; SLOTS]);
        assert_eq!(histogram.to_string(), "          0 us..          0 \n");
        histogram.0[3] = 80;
        histogram.0[5] = 1;
        let text = histogram.to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert_eq!(
            lines[0],
            format!("          4 us..         80 {}", "#".repeat(40))
        );
        assert_eq!(lines[2], "         16 us..          1 #");
    }
}
