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
        self.verdict = KernelVerdict::worst(self.kernels.iter().map(|kernel| kernel.verdict));
        self.minimums = minimums::observe(&self.kernels);
    }
}
