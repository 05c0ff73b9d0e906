//! One kernel after the other: the plain boot, the harness cold and from a template, and virtme-ng where it is given.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

use super::plain_boot::PlainBoot;
use super::tools::{
    FOUR_SCENARIOS, Harness, Interrupt, median, print_table, require_output, rounds, timed, trouble,
};

const PLAIN: &str = "plain boot";
const COLD: &str = "harness cold";
const TEMPLATE: &str = "harness template";
const VIRTME: &str = "virtme-ng, uname -r";
const EXEC_COLD: &str = "harness exec, cold";
const EXEC_TEMPLATE: &str = "harness exec, template";

/// Kernel, then what was measured, then one value for each round.
type Rounds<T> = BTreeMap<String, BTreeMap<&'static str, Vec<T>>>;

pub(super) fn measure(
    harness: &Harness,
    interrupt: &Interrupt,
    kernels: &[String],
    runs: usize,
    all_scenarios: bool,
) -> Result<Map<String, Value>> {
    let folder = tempfile::tempdir()?;
    let virtme_ng = std::env::var("VNG").ok();
    let mut ways = vec![PLAIN, COLD, TEMPLATE];
    if virtme_ng.is_some() {
        ways.extend([VIRTME, EXEC_COLD, EXEC_TEMPLATE]);
    }
    let mut plain_boots = Vec::new();
    for kernel in kernels {
        plain_boots.push(PlainBoot::prepare(harness, kernel, folder.path())?);
        // Makes the templates.
        harness.report(kernel, &["--scenario", FOUR_SCENARIOS])?;
        if virtme_ng.is_some() {
            harness.exec_uname(kernel, &[])?;
        }
    }

    let scenarios: &[&str] = if all_scenarios {
        &[]
    } else {
        &["--scenario", FOUR_SCENARIOS]
    };
    let mut seconds = Rounds::<f64>::new();
    let mut phases = Rounds::<Value>::new();
    let mut troubles = Vec::new();
    rounds(runs, interrupt, || {
        for plain in &plain_boots {
            for &way in &ways {
                let (time, result) = timed(|| match way {
                    PLAIN => plain.boot().map(|()| Value::Null),
                    COLD => {
                        harness.report(&plain.kernel, &[scenarios, &["--no-template"]].concat())
                    }
                    TEMPLATE => harness.report(&plain.kernel, scenarios),
                    VIRTME => {
                        run_virtme_ng(virtme_ng.as_deref(), &plain.image).map(|()| Value::Null)
                    }
                    EXEC_COLD => harness
                        .exec_uname(&plain.kernel, &["--no-template"])
                        .map(|()| Value::Null),
                    _ => harness.exec_uname(&plain.kernel, &[]).map(|()| Value::Null),
                });
                if interrupt.is_set() {
                    return Ok(());
                }
                seconds
                    .entry(plain.kernel.clone())
                    .or_default()
                    .entry(way)
                    .or_default()
                    .push(time);
                match result {
                    Err(error) => troubles.push(json!([plain.kernel, way, format!("{error:#}")])),
                    Ok(Value::Null) => {}
                    Ok(report) => match trouble(&report) {
                        Some(why) => troubles.push(json!([plain.kernel, way, why])),
                        None => phases
                            .entry(plain.kernel.clone())
                            .or_default()
                            .entry(way)
                            .or_default()
                            .push(report["kernels"][0]["phases_ms"].clone()),
                    },
                }
            }
        }
        Ok(())
    })?;

    let middle = |kernel: &str, way: &str| {
        let values = seconds.get(kernel).and_then(|ways| ways.get(way));
        values.map(|values| median(values))
    };
    let rows: Vec<String> = ways.iter().map(|&way| way.to_owned()).collect();
    print_table(&rows, kernels, |way, kernel| {
        match (middle(kernel, way), middle(kernel, PLAIN)) {
            (Some(value), Some(plain)) => format!("{value:.2} ({:.2})", value / plain),
            _ => String::new(),
        }
    });
    for line in &troubles {
        eprintln!("not ok: {line}");
    }
    let medians: BTreeMap<_, BTreeMap<_, _>> = seconds
        .iter()
        .map(|(kernel, ways)| {
            (
                kernel,
                ways.iter()
                    .map(|(way, values)| (way, median(values)))
                    .collect(),
            )
        })
        .collect();
    let result = json!({
        "seconds": seconds, "medians": medians, "phases_ms": phases, "trouble": troubles,
    });
    Ok(result.as_object().cloned().unwrap_or_default())
}

/// vng looks for its helper programs in PATH.
fn run_virtme_ng(program: Option<&str>, image: &Path) -> Result<()> {
    let program = program.context("VNG is not set")?;
    let folder = Path::new(program).parent().unwrap_or(Path::new("."));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&path));
    let mut command = Command::new(program);
    command
        .arg("--run")
        .arg(image)
        .args(["--disable-kvm", "--memory", "512M", "--exec", "uname -r"])
        .env("PATH", std::env::join_paths(folders)?);
    require_output(&mut command)
}
