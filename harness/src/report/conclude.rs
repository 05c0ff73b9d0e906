//! What a report says about all its kernels together.

use super::minimums;
use super::model::{KernelReport, Report, SCHEMA_VERSION};
use super::verdict::KernelVerdict;

impl Report {
    /// A report on these kernels, with its verdict and minimums.
    pub fn new(kernels: Vec<KernelReport>) -> Self {
        let mut report = Self {
            schema_version: SCHEMA_VERSION,
            harness: env!("CARGO_PKG_VERSION").to_owned(),
            verdict: KernelVerdict::Infra,
            shard: None,
            kernels,
            objects: Vec::new(),
            minimums: Vec::new(),
        };
        report.conclude();
        report
    }

    /// Computes the verdict and the minimums again, after a kernel changed.
    pub fn conclude(&mut self) {
        let verdicts = self.kernels.iter().map(|kernel| kernel.verdict);
        // There may be more shards than scenarios.
        let is_empty = self.shard.is_some() && self.kernels.is_empty();
        self.verdict = match is_empty {
            true => KernelVerdict::Ok,
            false => KernelVerdict::worst(verdicts),
        };
        self.minimums = minimums::observe(&self.kernels);
    }
}
