//! Compares one run of the harness with all kernels, cold and from templates, with the sum of their plain boots.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::plain_boot::PlainBoot;
use super::tools::{
    FOUR_SCENARIOS, Harness, Interrupt, median, print_table, rounds, timed, trouble,
};

const SUM: &str = "sum of plain boots";

pub(super) fn measure(
    harness: &Harness,
    interrupt: &Interrupt,
    kernels: &[String],
    runs: usize,
) -> Result<Map<String, Value>> {
    let folder = tempfile::tempdir()?;
    let joined = kernels.join(",");
    let mut plain_boots = Vec::new();
    for kernel in kernels {
        plain_boots.push(PlainBoot::prepare(harness, kernel, folder.path())?);
    }
    // Makes the templates.
    harness.report(&joined, &["--scenario", FOUR_SCENARIOS])?;

    let mut seconds = BTreeMap::<&str, Vec<f64>>::new();
    let mut troubles = Vec::new();
    rounds(runs, interrupt, || {
        let mut sum = 0.0;
        for plain in &plain_boots {
            let (time, result) = timed(|| plain.boot());
            result?;
            sum += time;
        }
        seconds.entry(SUM).or_default().push(sum);
        for (way, args) in [
            ("harness cold", &["--no-template"][..]),
            ("harness template", &[]),
        ] {
            let args = [&["--scenario", FOUR_SCENARIOS], args].concat();
            let (time, report) = timed(|| harness.report(&joined, &args));
            let report = report?;
            if interrupt.is_set() {
                return Ok(());
            }
            seconds.entry(way).or_default().push(time);
            if let Some(why) = trouble(&report) {
                troubles.push(json!([way, why]));
            }
        }
        Ok(())
    })?;

    let medians: BTreeMap<&str, f64> = seconds
        .iter()
        .map(|(way, values)| (*way, median(values)))
        .collect();
    let sum = medians.get(SUM).copied().unwrap_or(f64::NAN);
    let rows: Vec<String> = medians.keys().map(|&way| way.to_owned()).collect();
    print_table(&rows, &[format!("{} kernels", kernels.len())], |way, _| {
        let value = medians[way];
        format!("{value:.1} ({:.2})", value / sum)
    });
    for line in &troubles {
        eprintln!("not ok: {line}");
    }
    let result = json!({
        "kernels": kernels, "seconds": seconds, "medians": medians, "trouble": troubles,
    });
    Ok(result.as_object().cloned().unwrap_or_default())
}
