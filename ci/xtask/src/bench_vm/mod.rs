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
    /// Run the full set of scenarios instead of four, in the modes `vm` and `all`
    #[arg(long)]
    full: bool,
    /// The VMs' virtual CPUs [default: that of the harness]
    #[arg(long)]
    cpus: Option<u32>,
    /// The QEMU programs, one measured after the other [default: $QEMU, or qemu-system-x86_64]
    #[arg(long, value_name = "PROGRAM", value_delimiter = ',')]
    qemu: Vec<String>,
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
    let programs = if args.qemu.is_empty() {
        vec![std::env::var("QEMU").unwrap_or_else(|_| "qemu-system-x86_64".to_owned())]
    } else {
        args.qemu.clone()
    };
    let harnesses = programs
        .into_iter()
        .map(|qemu| Harness::new(root, qemu, args.cpus));
    let harnesses: Vec<Harness> = harnesses.collect::<Result<_>>()?;
    let harness = harnesses.first().context("--qemu names no program")?;
    let interrupt = Interrupt::register()?;
    let kernels = match (args.kernel.is_empty(), args.mode) {
        (false, _) => args.kernel.clone(),
        (true, Mode::All) => harness.cached_kernels()?,
        (true, _) => ["5.10", "6.1", "6.12", "7.3"].map(str::to_owned).to_vec(),
    };
    let mut runs = Vec::new();
    for harness in &harnesses {
        let machine = harness.machine()?;
        eprintln!("\n{}", machine["qemu"].as_str().unwrap_or(&harness.qemu));
        let load_before = load_average();
        let measured = match args.mode {
            Mode::Vm => {
                let runs: Vec<_> = kernels.chunks(1).collect();
                compare::measure(harness, &interrupt, &runs, args.runs, args.full)?
            }
            Mode::All => compare::measure(harness, &interrupt, &[&kernels], args.runs, args.full)?,
            Mode::Hundred => hundred::measure(harness, &interrupt, &kernels, args.boots)?,
        };
        let load = json!({ "before": load_before, "after": load_average() });
        let mut run: Map<String, Value> = Map::new();
        run.insert("machine".into(), machine);
        run.insert("load".into(), load);
        run.extend(measured);
        runs.push(run);
    }
    let command: Vec<String> = std::env::args().collect();
    let report = json!({ "command": command, "runs": runs });
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
