//! Stage 5, the report: the results of one run of the harness, in a versioned format that scripts may rely on.
//!
//! `docs/report.md` describes the format for its readers and `docs/report.schema.json` for machines. Fields are
//! added as needed; none is renamed or removed without a new [`SCHEMA_VERSION`].

pub mod compare;
mod conclude;
pub mod file;
pub mod github;
pub mod html;
pub mod instructions;
pub mod junit;
pub mod markdown;
mod matrix;
pub mod merge;
pub mod minimums;
pub mod model;
pub mod observed;
mod overhead;
pub mod program;
pub mod result;
pub mod slowdown;
pub mod summary;
pub mod terminal;
#[cfg(test)]
pub(crate) mod testing;
pub mod text;
pub mod tries;
pub mod verdict;
pub mod verifier;
pub mod verifier_table;

pub use crate::kernels::{Source, Tree};
pub use model::{
    Confirmed, KernelReport, Minimum, Phases, Repetition, Report, Restart, ResultSummary,
    SCHEMA_VERSION, ScenarioReport,
};
pub(crate) use model::{add, ms};
pub use program::{ObjectReport, ProgramReport};
pub use verdict::{Expected, KernelVerdict, Running, ScenarioVerdict};
