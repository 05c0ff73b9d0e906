//! Compares the VMs of the harness with a plain boot of the same kernel, alternately, so that load affects all equally.

mod compare;
mod hundred;
mod plain_boot;
mod tools;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use serde_json::{Map, Value, json};

use tools::{Harness, Interrupt};

/// What to measure. A harness must be built (`cargo build --release -p harness`, or HARNESS=PATH) and the kernels
/// cached (`harness kernels fetch all`).
///
/// After the first round it prints how long the rest will take. After Ctrl-C it reports the complete rounds. With
/// VNG=path/to/vng, mode `vm` measures virtme-ng too, and `harness exec` with the same command.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to measure
    mode: Mode,
    /// The kernels [default: 5.10, 6.1, 6.12, 7.3; in mode `all` each cached kernel of `all`]
    #[arg(long, value_delimiter = ',')]
    kernel: Vec<String>,
    /// Rounds in the modes `vm` and `all`
    #[arg(long, default_value_t = 7)]
    runs: usize,
    /// Boots of each kernel in mode `hundred`
    #[arg(long, default_value_t = 100)]
    boots: usize,
    /// Run all scenarios instead of four, in the modes `vm` and `all`
    #[arg(long)]
    all_scenarios: bool,
    /// Write the JSON to this file instead of stdout
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    /// One kernel after the other: plain boot, harness cold, harness from a template
    Vm,
    /// All kernels in one run of the harness, compared with the sum of their plain boots
    All,
    /// Many cold boots; a boot that requires a second attempt counts as failed
    Hundred,
}

pub(crate) fn run(root: &Path, args: &Args) -> Result<()> {
    let harness = Harness::new(root)?;
    let interrupt = Interrupt::register()?;
    let kernels = match (args.kernel.is_empty(), args.mode) {
        (false, _) => args.kernel.clone(),
        (true, Mode::All) => harness.cached_kernels()?,
        (true, _) => ["5.10", "6.1", "6.12", "7.3"].map(str::to_owned).to_vec(),
    };
    let load_before = load_average();
    let measured = match args.mode {
        Mode::Vm => {
            let runs: Vec<_> = kernels.chunks(1).collect();
            compare::measure(&harness, &interrupt, &runs, args.runs, args.all_scenarios)?
        }
        Mode::All => compare::measure(
            &harness,
            &interrupt,
            &[&kernels],
            args.runs,
            args.all_scenarios,
        )?,
        Mode::Hundred => hundred::measure(&harness, &interrupt, &kernels, args.boots)?,
    };
    let mut report: Map<String, Value> = Map::new();
    let command: Vec<String> = std::env::args().collect();
    report.insert("command".into(), json!(command));
    report.insert("machine".into(), harness.machine()?);
    report.insert(
        "load".into(),
        json!({ "before": load_before, "after": load_average() }),
    );
    report.extend(measured);
    let text = serde_json::to_string_pretty(&report)?;
    match &args.output {
        Some(path) => fs::write(path, text + "\n")
            .with_context(|| format!("cannot write the measurements to {}", path.display())),
        None => {
            println!("{text}");
            Ok(())
        }
    }
}

/// The first three fields of `/proc/loadavg`.
fn load_average() -> Vec<f64> {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace()
        .take(3)
        .filter_map(|field| field.parse().ok())
        .collect()
}
