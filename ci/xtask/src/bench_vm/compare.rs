//! Compares runs of the harness, cold and from templates, with plain boots of the same kernels, and with virtme-ng.

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

/// By the kernels of a run, then by what was measured: one value for each round.
type Rounds<T> = BTreeMap<String, BTreeMap<&'static str, Vec<T>>>;

fn push<T>(rounds: &mut Rounds<T>, kernels: &str, way: &'static str, value: T) {
    let ways = rounds.entry(kernels.to_owned()).or_default();
    ways.entry(way).or_default().push(value);
}

/// Measures each run of the harness, which has one or more kernels, against the sum of their plain boots.
pub(super) fn measure(
    harness: &Harness,
    interrupt: &Interrupt,
    runs: &[&[String]],
    count: usize,
    full: bool,
) -> Result<Map<String, Value>> {
    let folder = tempfile::tempdir()?;
    // virtme-ng boots one kernel.
    let virtme_ng = std::env::var("VNG").ok();
    let virtme_ng = virtme_ng.filter(|_| runs.iter().all(|run| run.len() == 1));
    let mut ways = vec![PLAIN, COLD, TEMPLATE];
    if virtme_ng.is_some() {
        ways.extend([VIRTME, EXEC_COLD, EXEC_TEMPLATE]);
    }
    let mut prepared = Vec::new();
    for run in runs {
        let plain_boots: Result<Vec<_>> = run
            .iter()
            .map(|kernel| PlainBoot::prepare(harness, kernel, folder.path()))
            .collect();
        let kernels = run.join(",");
        // Saves the templates.
        harness.report(&kernels, &["--scenario", FOUR_SCENARIOS])?;
        if virtme_ng.is_some() {
            harness.exec_uname(&kernels, &[])?;
        }
        prepared.push((kernels, plain_boots?));
    }

    let scenarios: &[&str] = if full {
        &[]
    } else {
        &["--scenario", FOUR_SCENARIOS]
    };
    let mut seconds = Rounds::<f64>::new();
    let mut phases = Rounds::<Value>::new();
    let mut troubles = Vec::new();
    rounds(count, interrupt, || {
        for (kernels, plain_boots) in &prepared {
            for &way in &ways {
                let nothing = |()| Value::Null;
                let (time, result) = timed(|| match way {
                    PLAIN => plain_boots
                        .iter()
                        .try_for_each(PlainBoot::boot)
                        .map(nothing),
                    COLD => harness.report(kernels, &[scenarios, &["--no-template"]].concat()),
                    TEMPLATE => harness.report(kernels, scenarios),
                    VIRTME => run_virtme_ng(virtme_ng.as_deref(), plain_boots).map(nothing),
                    EXEC_COLD => harness.exec_uname(kernels, &["--no-template"]).map(nothing),
                    _ => harness.exec_uname(kernels, &[]).map(nothing),
                });
                if interrupt.is_set() {
                    return Ok(());
                }
                push(&mut seconds, kernels, way, time);
                match result {
                    Err(error) => troubles.push(json!([kernels, way, format!("{error:#}")])),
                    Ok(Value::Null) => {}
                    Ok(report) => match trouble(&report) {
                        Some(why) => troubles.push(json!([kernels, way, why])),
                        None => {
                            let listed = report["kernels"].as_array().into_iter().flatten();
                            let listed = listed.map(|kernel| kernel["phases_ms"].clone()).collect();
                            push(&mut phases, kernels, way, listed);
                        }
                    },
                }
            }
        }
        Ok(())
    })?;

    let medians: BTreeMap<&str, BTreeMap<&str, f64>> = seconds
        .iter()
        .map(|(kernels, ways)| {
            let medians = ways.iter().map(|(&way, values)| (way, median(values)));
            (kernels.as_str(), medians.collect())
        })
        .collect();
    let rows: Vec<String> = ways.iter().map(|&way| way.to_owned()).collect();
    let columns: Vec<String> = prepared
        .iter()
        .map(|(kernels, _)| kernels.clone())
        .collect();
    print_table(&rows, &columns, |way, kernels| {
        let medians = medians.get(kernels);
        let of = |way: &str| medians.and_then(|medians| medians.get(way));
        match (of(way), of(PLAIN)) {
            (Some(value), Some(plain)) => format!("{value:.2} ({:.2})", value / plain),
            _ => String::new(),
        }
    });
    for line in &troubles {
        eprintln!("not ok: {line}");
    }
    let result = json!({
        "seconds": seconds, "medians": medians, "phases_ms": phases, "trouble": troubles,
    });
    Ok(result.as_object().cloned().unwrap_or_default())
}

/// Boots the one kernel of a run. vng looks for its helper programs in PATH.
fn run_virtme_ng(program: Option<&str>, plain_boots: &[PlainBoot<'_>]) -> Result<()> {
    let program = program.context("VNG is not set")?;
    let plain = plain_boots.first().context("no kernel")?;
    let folder = Path::new(program).parent().unwrap_or(Path::new("."));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&path));
    let mut command = Command::new(program);
    command
        .arg("--run")
        .arg(&plain.image)
        .args(["--disable-kvm", "--memory", "512M", "--exec", "uname -r"])
        .env("PATH", std::env::join_paths(folders)?);
    require_output(&mut command)
}
