//! `harness man`: manual pages, one for each command.

use std::path::Path;

use anyhow::Result;
use clap::CommandFactory as _;

use crate::{cli::Cli, support::error::usage};

/// Writes `harness.1`, `harness-run.1` and so on to `dir`.
pub fn write(dir: &Path) -> Result<u8> {
    clap_mangen::generate_to(Cli::command(), dir).map_err(|e| {
        usage(format!(
            "cannot write manual pages to {}: {e}",
            dir.display()
        ))
    })?;
    Ok(0)
}
