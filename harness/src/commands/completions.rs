//! `harness completions`: the completions for a shell.

use std::io::{self, Write as _};

use anyhow::{Context as _, Result};
use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::Cli;

/// Prints them to stdout.
pub fn print(shell: Shell) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "harness", &mut script);
    io::stdout()
        .write_all(&script)
        .context("cannot write to stdout")?;
    Ok(0)
}
