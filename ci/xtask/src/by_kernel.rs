//! Writes docs/by-kernel.md, what works on which kernel, from a report of the harness.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use xshell::Shell;

/// The options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A JSON report of all scenarios: `harness --kernel all --output FILE`
    report: PathBuf,
    /// A JSON report of the scenario `overhead`, with --icount
    overhead: PathBuf,
}

const PAGE: &str = "docs/by-kernel.md";

const HEAD: &str = "\
# fexit by kernel

What works on which kernel, measured: the scenarios of the harness ran on each of these kernels in a VM. To repeat it:

    cargo run --release -p harness -- --kernel all --output report.json
    cargo run --release -p harness -- --kernel all --scenario overhead --icount --output overhead.json
    cargo xtask by-kernel report.json overhead.json
";

const OVERHEAD_HEAD: &str = "
## Overhead

What an empty program adds to a call of the function that it is attached to, in instructions of the kernel (`--icount`): the
median over many rounds, and the range of the middle half of them.

![What a program adds to a call, by kernel](images/overhead.png)

";

/// The attach types of the scenario `overhead`, and the prefix of their measurements.
const TYPES: [(&str, &str); 4] = [
    ("fexit", "fexit_empty"),
    ("fentry", "fentry_empty"),
    ("kprobe", "kprobe_empty"),
    ("kretprobe", "kretprobe_empty"),
];

pub(crate) fn run(shell: &Shell, args: &Args) -> Result<()> {
    let page = page(&read(&args.report)?, &read(&args.overhead)?)?;
    shell.write_file(Path::new(PAGE), page)?;
    eprintln!("{PAGE} is written");
    Ok(())
}

fn read(path: &Path) -> Result<Value> {
    let report =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&report).with_context(|| format!("{} is not JSON", path.display()))
}

fn page(report: &Value, overhead: &Value) -> Result<String> {
    let kernels = list(report, "kernels");
    let minimums = list(report, "minimums");
    ensure!(
        !kernels.is_empty() && !minimums.is_empty(),
        "the report has no kernels or no minimums: it must be a report of the harness's own scenarios"
    );
    ensure!(
        report["verdict"] == "ok",
        "the verdict of the report is {}, not ok: the page would claim what is not so",
        report["verdict"]
    );
    let mut page = HEAD.to_owned();
    features(kernels, minimums, &mut page);
    let measured = list(overhead, "kernels");
    ensure!(
        measured.iter().all(|kernel| kernel["icount"] == true),
        "the report of the overhead counts no instructions: run it with --icount"
    );
    overhead_figures(measured, &mut page);
    Ok(page)
}

/// A column for each kernel, a row for each feature.
fn features(kernels: &[Value], minimums: &[Value], page: &mut String) {
    page.push_str("\n## Features\n\n");
    let names = kernels.iter().map(|kernel| text(&kernel["requested"]));
    row(page, ["feature", "from"].into_iter().chain(names));
    row(page, vec!["---"; kernels.len() + 2]);
    for minimum in minimums {
        let (feature, claimed) = (text(&minimum["feature"]), text(&minimum["claimed"]));
        let cells = kernels.iter().map(|kernel| cell(kernel, feature, claimed));
        row(page, [feature, claimed].into_iter().chain(cells));
    }
    page.push_str(
        "\nyes: at least one scenario of the feature passed, and none failed. no: the library refused it, and named the feature \
         and its first kernel. –: nothing ran.\n\n## Kernels\n\n",
    );
    row(page, ["kernel", "release", "QEMU"]);
    row(page, ["---"; 3]);
    for kernel in kernels {
        let fields = ["requested", "release", "qemu_version"];
        row(page, fields.map(|field| text(&kernel[field])));
    }
}

/// Whether the scenarios of a feature passed on a kernel.
fn cell(kernel: &Value, feature: &str, claimed: &str) -> &'static str {
    let scenarios = list(kernel, "scenarios").iter();
    let outcomes: Vec<_> = scenarios
        .filter(|scenario| scenario["feature"] == feature && scenario["minimum"] == claimed)
        .map(|scenario| text(&scenario["outcome"]))
        .collect();
    if outcomes.contains(&"passed") {
        "yes"
    } else if outcomes.contains(&"unsupported") {
        "no"
    } else {
        "–"
    }
}

fn overhead_figures(kernels: &[Value], page: &mut String) {
    page.push_str(OVERHEAD_HEAD);
    let types = TYPES.iter().map(|(name, _)| *name);
    row(
        page,
        ["kernel"]
            .into_iter()
            .chain(types)
            .chain(["fexit to kretprobe"]),
    );
    row(page, vec!["---"; TYPES.len() + 2]);
    for kernel in kernels {
        let Some(scenario) = list(kernel, "scenarios")
            .iter()
            .find(|scenario| scenario["id"] == "overhead" && scenario["outcome"] == "passed")
        else {
            continue;
        };
        let figure = |prefix: &str, unit: &str| {
            scenario["measurements"][format!("{prefix}_added_{unit}")].as_f64()
        };
        let mut cells = vec![text(&kernel["requested"]).to_owned()];
        for (_, prefix) in TYPES {
            let (added, spread) = (figure(prefix, "ns"), figure(prefix, "spread"));
            cells.push(added.zip(spread).map_or_else(
                || "–".to_owned(),
                |(added, spread)| format!("{added:.0} ± {spread:.0}"),
            ));
        }
        let ratio = figure("fexit_empty", "ns").zip(figure("kretprobe_empty", "ns"));
        cells.push(ratio.map_or_else(
            || "–".to_owned(),
            |(fexit, kretprobe)| format!("{:.2}", fexit / kretprobe),
        ));
        row(page, cells.iter().map(String::as_str));
    }
}

fn row<'a>(page: &mut String, cells: impl IntoIterator<Item = &'a str>) {
    page.push('|');
    for cell in cells {
        let _ = write!(page, " {cell} |");
    }
    page.push('\n');
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("–")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report() -> Value {
        let scenario = |id: &str, feature: &str, minimum: &str, outcome: &str| {
            json!({"id": id, "feature": feature, "minimum": minimum, "outcome": outcome, "measurements": {
                "fexit_empty_added_ns": 10.0, "fexit_empty_added_spread": 2.0,
                "kretprobe_empty_added_ns": 40.0, "kretprobe_empty_added_spread": 3.0,
            }})
        };
        json!({
            "verdict": "ok",
            "kernels": [
                {"requested": "5.10", "icount": true, "release": "5.10.1", "qemu_version": "7.2", "scenarios": [
                    scenario("overhead", "fexit", "5.5", "passed"),
                    scenario("cookie", "cookie", "5.19", "unsupported"),
                    scenario("module", "module-target", "5.11", "skipped"),
                ]},
            ],
            "minimums": [
                {"feature": "fexit", "claimed": "5.5"},
                {"feature": "cookie", "claimed": "5.19"},
                {"feature": "module-target", "claimed": "5.11"},
            ],
        })
    }

    #[test]
    fn a_row_for_each_feature_and_the_overhead_of_each_kernel() {
        let page = page(&report(), &report()).unwrap();
        for line in [
            "| feature | from | 5.10 |",
            "| fexit | 5.5 | yes |",
            "| cookie | 5.19 | no |",
            "| module-target | 5.11 | – |",
            "| 5.10 | 5.10.1 | 7.2 |",
            "| 5.10 | 10 ± 2 | – | – | 40 ± 3 | 0.25 |",
        ] {
            assert!(page.lines().any(|found| found == line), "no {line}: {page}");
        }
    }

    #[test]
    fn a_report_with_failures_or_without_minimums_is_refused() {
        let mut failed = report();
        failed["verdict"] = json!("not-ok");
        let error = |report: &Value| page(report, report).unwrap_err().to_string();
        assert!(error(&failed).contains("not-ok"));
        let mut empty = report();
        empty["minimums"] = json!([]);
        assert!(error(&empty).contains("no minimums"));
        let mut timed = report();
        timed["kernels"][0]["icount"] = json!(false);
        assert!(error(&timed).contains("--icount"));
    }
}
