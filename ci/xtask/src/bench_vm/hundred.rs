//! Boots each kernel many times, cold.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::tools::{Harness, Interrupt, print_table, rounds};

const BOOTS: &str = "boots";
const FAILED: &str = "failed";

pub(super) fn measure(
    harness: &Harness,
    interrupt: &Interrupt,
    kernels: &[String],
    boots: usize,
) -> Result<Map<String, Value>> {
    let mut booted: BTreeMap<&str, usize> =
        kernels.iter().map(|kernel| (kernel.as_str(), 0)).collect();
    let mut failed = booted.clone();
    let mut failures = Vec::new();
    rounds(boots, interrupt, || {
        for kernel in kernels {
            let report = harness.report(kernel, &["--scenario", "attach", "--no-template"])?;
            if interrupt.is_set() {
                return Ok(());
            }
            let report = &report["kernels"][0];
            *booted.entry(kernel).or_default() += 1;
            if report["verdict"] != "ok" || report["attempts"] != 1 {
                *failed.entry(kernel).or_default() += 1;
                failures.push(json!([kernel, report["error"], report["warnings"]]));
            }
        }
        Ok(())
    })?;
    print_table(
        &[BOOTS.to_owned(), FAILED.to_owned()],
        kernels,
        |row, kernel| {
            let counts = if row == BOOTS { &booted } else { &failed };
            counts[kernel].to_string()
        },
    );
    let result = json!({ "boots": booted, "failures": failures });
    Ok(result.as_object().cloned().unwrap_or_default())
}
