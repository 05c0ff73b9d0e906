//! Runs the programs under test alternately, so that other load affects all of them equally, and prints medians as JSON.
//! The programs and the objects must be in the directory of this one.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use bench::{Report, now};
use serde_json::{Map, Value, json};

const PEERS: [&str; 4] = ["fexit", UNCHECKED, "libbpf", "aya"];

/// fexit without the check for ambiguous names, which the others do not have.
const UNCHECKED: &str = "unchecked";

/// One thing to measure.
struct Case {
    name: &'static str,
    objects: &'static [&'static str],
    /// What calls the function: `getppid`, or a file to open.
    fire: &'static str,
    peers: &'static [&'static str],
}

impl Case {
    const fn new(name: &'static str, objects: &'static [&'static str]) -> Self {
        Self {
            name,
            objects,
            fire: "getppid",
            peers: &PEERS,
        }
    }
}

const CASES: [Case; 6] = [
    Case::new("plain", &["plain"]),
    Case::new("core", &["core"]),
    Case::new("second", &["plain", "core"]),
    Case::new("ten", &["ten"]),
    Case::new("hundred", &["hundred"]),
    Case {
        fire: "/dev/net/tun",
        // aya has no targets in modules.
        peers: &["fexit", UNCHECKED, "libbpf"],
        ..Case::new("module", &["module"])
    },
];

fn main() -> Result<()> {
    let mut rounds = 7;
    let mut unit = "us";
    let mut chosen = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rounds" => {
                let number = arguments.next().context("--rounds takes a number")?;
                rounds = number.parse()?;
            }
            // The clock counts instructions: a thousand for each microsecond.
            "--icount" => unit = "thousand_instructions",
            case if CASES.iter().any(|known| known.name == case) => chosen.push(argument),
            other => {
                bail!("usage: bench [--rounds N] [--icount] [CASE]...; there is no case `{other}`")
            }
        }
    }
    ensure!(rounds > 0, "--rounds must be at least 1");
    let is_chosen = |case: &&Case| chosen.is_empty() || chosen.iter().any(|name| name == case.name);
    let cases = CASES.iter().filter(is_chosen);
    // The first program load in a VM makes the kernel parse its BTF: do not measure it.
    let here = std::env::current_exe()?;
    let here = here.parent().context("no directory")?;
    drop(run(here, "fexit", &CASES[0]));
    let cases: Vec<_> = cases.map(|case| measure(here, case, rounds)).collect();
    let uname = rustix::system::uname();
    let kernel = uname.release().to_string_lossy();
    table(&kernel, unit, &cases);
    println!(
        "{}",
        json!({ "kernel": kernel, "unit": unit, "rounds": rounds, "cases": cases })
    );
    Ok(())
}

/// Prints the totals for people: each peer's, and fexit's share of it.
fn table(kernel: &str, unit: &str, cases: &[Value]) {
    eprintln!("{kernel}, {unit}: total, fexit's share of it, peak of memory in kB");
    for case in cases {
        let name = case["case"].as_str().unwrap_or_default();
        let ours = case["peers"]["fexit"]["total"].as_f64();
        for (peer, figures) in case["peers"].as_object().into_iter().flatten() {
            let (Some(total), Some(peak)) =
                (figures["total"].as_f64(), figures["peak_kb"].as_u64())
            else {
                eprintln!("{name:8} {peer:9} {}", figures["error"]);
                continue;
            };
            let share = ours.map_or(f64::NAN, |ours| ours / total);
            eprintln!("{name:8} {peer:9} {total:8} {share:5.2} {peak:6}");
        }
    }
}

/// Runs a case with each peer alternately, for all rounds. A peer that fails does not run again.
fn measure(here: &Path, case: &Case, rounds: usize) -> Value {
    let mut runs: BTreeMap<&str, Result<Vec<Report>>> = BTreeMap::new();
    for _ in 0..rounds {
        for &peer in case.peers {
            if let Ok(reports) = runs.entry(peer).or_insert(Ok(Vec::new())) {
                match run(here, peer, case) {
                    Ok(report) => reports.push(report),
                    Err(error) => drop(runs.insert(peer, Err(error))),
                }
            }
        }
    }
    let mut peers = Map::new();
    for &peer in case.peers {
        let value = match runs.get(peer) {
            Some(Ok(reports)) => summary(reports),
            Some(Err(error)) => json!({ "error": format!("{error:#}") }),
            None => continue,
        };
        peers.insert(peer.to_owned(), value);
    }
    json!({ "case": case.name, "peers": peers })
}

fn run(here: &Path, peer: &str, case: &Case) -> Result<Report> {
    let object = |name: &&str| here.join(format!("{name}.bpf.o"));
    let (program, variable) = match peer {
        UNCHECKED => ("fexit", Some(("UNCHECKED", "1"))),
        _ => (peer, None),
    };
    let output = Command::new(here.join(format!("with-{program}")))
        .envs(variable)
        .args([now().to_string().as_str(), case.fire])
        .args(case.objects.iter().map(object))
        .output()
        .with_context(|| format!("running with-{peer}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{}: {}",
        output.status,
        stderr.trim()
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Medians over the runs: of each phase, of all of them together, of the peak of memory.
fn summary(reports: &[Report]) -> Value {
    let mut phases = Map::new();
    let names = reports.first().map_or(&[][..], |report| &report.phases);
    for (index, (name, _)) in names.iter().enumerate() {
        let values = reports.iter().map(|report| report.phases[index].1);
        phases.insert(name.clone(), json!(median(values)));
    }
    let total = |report: &Report| report.phases.iter().map(|(_, time)| time).sum();
    json!({
        "total": median(reports.iter().map(total)),
        "phases": phases,
        "peak_kb": median(reports.iter().map(|report| report.peak_kb as f64)),
    })
}

fn median(values: impl Iterator<Item = f64>) -> u64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2].round() as u64
}
