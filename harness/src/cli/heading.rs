//! The headings in `--help` of options that are not in a group of their own.

pub(super) const KERNELS: &str = "Kernels";
pub(super) const SCENARIOS: &str = "Scenarios";
pub(super) const OUTPUT: &str = "Output";
