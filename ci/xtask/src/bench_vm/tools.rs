//! Runs the harness, counts rounds, prints tables.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

pub(super) const FOUR_SCENARIOS: &str = "attach,detach,take_link,unload";

/// The harness under measurement, and the QEMU that it uses.
pub(super) struct Harness {
    program: PathBuf,
    pub(super) qemu: String,
    cpus: Vec<String>,
}

impl Harness {
    pub(super) fn new(root: &Path, qemu: String, cpus: Option<u32>) -> Result<Self> {
        let program = std::env::var_os("HARNESS")
            .map_or_else(|| root.join("target/release/harness"), PathBuf::from);
        if !program.exists() {
            bail!(
                "no harness at {}: build it with `cargo build --release -p harness`, or set HARNESS=PATH",
                program.display()
            );
        }
        let cpus = cpus.map_or_else(Vec::new, |cpus| vec!["--cpus".to_owned(), cpus.to_string()]);
        Ok(Self {
            program,
            qemu,
            cpus,
        })
    }

    /// Runs scenarios under TCG, offline. Returns the report.
    pub(super) fn report(&self, kernels: &str, args: &[&str]) -> Result<Value> {
        let output = Command::new(&self.program)
            .env("QEMU", &self.qemu)
            .args(["--kernel", kernels, "--offline", "--accel", "tcg"])
            .args(&self.cpus)
            .args(args)
            .output()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        serde_json::from_slice(&output.stdout).with_context(|| {
            let stderr = String::from_utf8_lossy(&output.stderr);
            format!(
                "harness --kernel {kernels} gave no report ({}): {stderr}",
                output.status
            )
        })
    }

    /// Runs `uname -r` in a VM by `harness exec`.
    pub(super) fn exec_uname(&self, kernel: &str, args: &[&str]) -> Result<()> {
        let mut command = Command::new(&self.program);
        command
            .env("QEMU", &self.qemu)
            .args(["exec", "--kernel", kernel, "--offline", "--accel", "tcg"])
            .args(args)
            .args(["--", "uname", "-r"]);
        require_output(&mut command)
    }

    /// The kernels of `all` for x86-64 that are cached.
    pub(super) fn cached_kernels(&self) -> Result<Vec<String>> {
        let output = Command::new(&self.program)
            .args(["kernels", "list", "--json"])
            .output()?;
        let listed: Vec<Value> = serde_json::from_slice(&output.stdout)
            .context("`harness kernels list --json` gave no list")?;
        let cached = listed
            .iter()
            .filter(|kernel| kernel["in_all"] == true && kernel["cached"] == true);
        Ok(cached
            .filter_map(|kernel| kernel["name"].as_str().map(str::to_owned))
            .filter(|name| !name.contains(":arm64"))
            .collect())
    }

    pub(super) fn machine(&self) -> Result<Value> {
        let output = Command::new(&self.qemu).arg("--version").output()?;
        let version = String::from_utf8_lossy(&output.stdout);
        let cpus = std::thread::available_parallelism()?.get();
        let host = rustix::system::uname();
        Ok(json!({
            "cpus": cpus,
            "host": host.release().to_string_lossy(),
            "qemu": version.lines().next(),
            "accelerator": "tcg",
        }))
    }
}

/// The errors of a report that is not ok.
pub(super) fn trouble(report: &Value) -> Option<Value> {
    if report["verdict"] == "ok" {
        return None;
    }
    let kernels = report["kernels"].as_array().into_iter().flatten();
    Some(kernels.map(|kernel| kernel["error"].clone()).collect())
}

/// Runs a command that must succeed and print something.
pub(super) fn require_output(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() && !output.stdout.trim_ascii().is_empty() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    bail!("{command:?} ended with {}: {stderr}", output.status)
}

/// Seconds that an action takes, and its result.
pub(super) fn timed<T>(action: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let result = action();
    (
        (start.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
        result,
    )
}

/// Set by Ctrl-C. A run that was interrupted is not counted.
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    pub(super) fn register() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&flag))?;
        Ok(Self(flag))
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Runs `round` up to `count` times and prints the time that is left; an interrupted round is dropped.
pub(super) fn rounds(
    count: usize,
    interrupt: &Interrupt,
    mut round: impl FnMut() -> Result<()>,
) -> Result<()> {
    let start = Instant::now();
    for number in 1..=count {
        let result = round();
        if interrupt.is_set() {
            eprintln!("interrupted");
            return Ok(());
        }
        result?;
        let left = start.elapsed() / number as u32 * (count - number) as u32;
        eprintln!("round {number} of {count}; {} left", minutes(left));
    }
    Ok(())
}

fn minutes(duration: Duration) -> String {
    format!("{:.1} minutes", duration.as_secs_f64() / 60.0)
}

pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// Prints a Markdown table on stderr.
pub(super) fn print_table(
    rows: &[String],
    columns: &[String],
    cell: impl Fn(&str, &str) -> String,
) {
    eprintln!("| | {} |", columns.join(" | "));
    eprintln!("|---|{}", "---|".repeat(columns.len()));
    for row in rows {
        let cells: Vec<String> = columns.iter().map(|column| cell(row, column)).collect();
        eprintln!("| {row} | {} |", cells.join(" | "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_an_even_number_of_values_is_the_mean_of_the_middle_two() {
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[9.0, 1.0, 5.0]), 5.0);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn trouble_of_a_report_is_the_error_of_each_kernel() {
        assert_eq!(trouble(&json!({ "verdict": "ok" })), None);
        let report = json!({ "verdict": "infra", "kernels": [{ "error": "no QEMU" }] });
        assert_eq!(trouble(&report), Some(json!(["no QEMU"])));
    }
}
