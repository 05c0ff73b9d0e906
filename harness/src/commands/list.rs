//! `harness list`: the scenarios and the kernels.

use std::io::{self, Write as _};

use anyhow::{Context as _, Result};

use crate::{
    cli::list::ListArgs,
    commands::kernel_table,
    kernels::{Kernels, operations},
    session::plan,
};

/// Prints the scenarios, each with its minimum kernel, and the kernels.
pub fn print(args: &ListArgs) -> Result<u8> {
    let selected = plan::select(&args.scenarios)?;
    let store = Kernels::open(args.store.clone())?;
    let width = selected
        .iter()
        .map(|scenario| scenario.id.len())
        .max()
        .unwrap_or(0);
    let mut text = String::from("Scenarios, and the kernel from which on each must pass:\n");
    for scenario in selected {
        let minimum = scenario.minimum;
        let minimum = minimum.map_or_else(
            || "any".to_owned(),
            |(major, minor)| format!("{major}.{minor}"),
        );
        text.push_str(&format!(
            "  {:<width$}  {minimum:<5}  {}\n",
            scenario.id, scenario.title
        ));
    }
    text.push_str("\nKernels:\n");
    for line in kernel_table::of(&operations::list(&store)?).lines() {
        text.push_str(&format!("  {line}\n"));
    }
    io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to stdout")?;
    Ok(0)
}
