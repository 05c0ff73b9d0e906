//! Shared by the three programs under test: the objects to load, how to trigger their programs, and a clock.

use std::fs::{self, File};
use std::path::PathBuf;
use std::vec;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::getppid;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// The result of a program under test.
#[derive(Debug, Deserialize, Serialize)]
pub struct Report {
    /// Microseconds of each phase, in order.
    pub phases: Vec<(String, f64)>,
    /// Peak memory of the process in kB.
    pub peak_kb: u64,
}

/// Nanoseconds since the VM started. All processes in it read the same clock.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// The job of a program under test: load its objects one after the other, and measure the last one.
pub struct Job {
    fire: String,
    objects: vec::IntoIter<PathBuf>,
    since: u64,
    phases: Vec<(String, f64)>,
}

impl Job {
    /// Reads the arguments: when the process was started, how to fire, the objects.
    pub fn from_args() -> Result<Self> {
        let mut arguments = std::env::args().skip(1);
        let mut next = || {
            arguments
                .next()
                .context("usage: PROGRAM STARTED FIRE OBJECT...")
        };
        let (since, fire) = (next()?.parse()?, next()?);
        let objects: Vec<_> = arguments.map(PathBuf::from).collect();
        let mut job = Self {
            fire,
            objects: objects.into_iter(),
            since,
            phases: Vec::new(),
        };
        job.lap("start");
        Ok(job)
    }

    /// The next object. Discards the measurements of the previous one.
    pub fn next_object(&mut self) -> Option<PathBuf> {
        let object = self.objects.next()?;
        if self.phases.iter().any(|(name, _)| name == "fire") {
            self.phases.clear();
            self.since = now();
        }
        Some(object)
    }

    /// Ends a phase.
    pub fn lap(&mut self, name: &str) {
        let now = now();
        let took = now.saturating_sub(self.since) as f64 / 1000.0;
        self.phases.push((name.to_owned(), took));
        self.since = now;
    }

    /// Calls the target of a program, and checks with `count` that the programs ran.
    pub fn fire(&mut self, count: impl FnOnce() -> Result<u64>) -> Result<()> {
        match self.fire.as_str() {
            "getppid" => {
                let _ = getppid();
            }
            file => drop(File::open(file)?),
        }
        self.lap("fire");
        ensure!(count()? > 0, "the program did not run");
        Ok(())
    }

    /// Prints the report.
    pub fn report(self) -> Result<()> {
        let status = fs::read_to_string("/proc/self/status")?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let Some(peak) = peak.and_then(|peak| peak.split_whitespace().next()) else {
            bail!("/proc/self/status has no VmHWM: the kernel does not report peak memory");
        };
        let report = Report {
            phases: self.phases,
            peak_kb: peak.parse()?,
        };
        println!("{}", serde_json::to_string(&report)?);
        Ok(())
    }
}
