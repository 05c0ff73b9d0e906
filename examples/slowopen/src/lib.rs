//! The latency and the result of opening files.

use std::time::Duration;

use anyhow::Result;
use fexit::EbpfLoader;
use serde_json::{Value, json};
use tool::{Events, Fields, Record, Tracer, Watched, errno, printable};

const OBJECT: &[u8] = fexit::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/slowopen.bpf.o"));

/// What to report.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// Only opens that took at least this many microseconds
    #[arg(long, value_name = "US", default_value_t = 0)]
    pub min_us: u64,
    /// Only opens that failed
    #[arg(long)]
    pub failed: bool,
    /// Which process to watch.
    #[command(flatten)]
    pub watched: Watched,
}

/// A finished open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// From the call to the file or the error.
    pub latency: Duration,
    /// Why it failed.
    pub errno: Option<i32>,
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// The thread's name.
    pub comm: String,
    /// The path as the process gave it, its first 255 bytes.
    pub path: String,
}

/// Starts watching.
///
/// # Errors
///
/// The library's errors.
pub fn start(options: &Options) -> Result<(Tracer, Events)> {
    let mut loader = EbpfLoader::new();
    loader.set_global("min_ns", &options.min_us.saturating_mul(1000), true);
    loader.set_global("failed_only", &u8::from(options.failed), true);
    let mut tracer = Tracer::new(OBJECT, &mut loader, &options.watched)?;
    let events = tracer.events()?;
    for program in ["ended", "begun"] {
        tracer.attach(program, &["do_file_open", "do_filp_open"])?;
    }
    Ok((tracer, events))
}

impl Record for Open {
    const HEADER: &str = "    PID COMM                     US  RESULT                       PATH";

    fn parse(bytes: &[u8]) -> Result<Self> {
        let mut fields = Fields::new(bytes);
        let latency = Duration::from_nanos(fields.u64()?);
        let result = fields.i64()?;
        Ok(Self {
            latency,
            // The kernel's convention: the last page of addresses holds errors.
            errno: (-4095..0)
                .contains(&result)
                .then(|| i32::try_from(-result).unwrap_or(0)),
            pid: fields.u32()?,
            tid: fields.u32()?,
            comm: fields.text::<16>()?,
            path: fields.text::<256>()?,
        })
    }

    fn json(&self) -> Value {
        json!({
            "pid": self.pid,
            "tid": self.tid,
            "comm": self.comm,
            "latency_us": self.latency.as_micros() as u64,
            "errno": self.errno,
            "path": self.path,
        })
    }

    fn text(&self) -> String {
        format!(
            "{:>7} {:16} {:>10}  {:28} {}",
            self.pid,
            printable(&self.comm),
            self.latency.as_micros(),
            self.errno.map_or_else(|| "ok".to_owned(), errno),
            printable(&self.path)
        )
    }
}
