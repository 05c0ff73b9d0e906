//! What a program adds to a call of its function, from the scenario `overhead`, as a table.

use std::fmt::Write as _;

use super::model::{KernelReport, Report};

const SCENARIO: &str = "overhead";

/// The attach types, with the prefix of their measurements.
pub(super) const TYPES: [(&str, &str); 5] = [
    ("fexit", "fexit_empty"),
    ("fentry", "fentry_empty"),
    ("kprobe", "kprobe_empty"),
    ("kretprobe", "kretprobe_empty"),
    ("kretprobe.multi", "kretprobe_multi_empty"),
];

/// The others are compared with this one.
const PEER: &str = "kretprobe_empty";

/// The median of what a program adds to a call, and the range of the middle half of the rounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Added {
    pub(super) median: f64,
    pub(super) spread: f64,
}

/// What programs of each of [`TYPES`] add on one kernel.
#[derive(Debug)]
pub(super) struct OnKernel<'a> {
    pub(super) kernel: &'a str,
    /// `ns`, or `instructions` with `--icount`.
    pub(super) unit: &'static str,
    pub(super) added: [Option<Added>; TYPES.len()],
}

/// The figures of each kernel that ran the scenario.
pub(super) fn figures(report: &Report) -> impl Iterator<Item = OnKernel<'_>> {
    report.kernels.iter().filter_map(|kernel| {
        let added = TYPES.map(|(_, prefix)| added(kernel, prefix));
        added.iter().flatten().next()?;
        Some(OnKernel {
            kernel: &kernel.requested,
            unit: if kernel.icount { "instructions" } else { "ns" },
            added,
        })
    })
}

/// The headings: a column for each attach type.
pub(super) fn headings() -> Vec<&'static str> {
    let types = TYPES.iter().map(|(title, _)| *title);
    ["kernel"].into_iter().chain(types).collect()
}

/// A row for each kernel that ran the scenario.
pub(super) fn rows(report: &Report) -> impl Iterator<Item = Vec<String>> {
    figures(report).map(|figures| {
        let types = TYPES.iter().map(|(_, prefix)| *prefix).zip(figures.added);
        let peer = types.clone().find(|(prefix, _)| *prefix == PEER);
        let peer = peer.and_then(|(_, added)| added);
        let cells = types.map(|(prefix, added)| match added {
            Some(added) => cell(added, peer.filter(|_| prefix != PEER), figures.unit),
            None => String::new(),
        });
        [figures.kernel.to_owned()]
            .into_iter()
            .chain(cells)
            .collect()
    })
}

fn added(kernel: &KernelReport, prefix: &str) -> Option<Added> {
    let measurements = &kernel.scenario(SCENARIO)?.measurements;
    let number = |suffix: &str| measurements.get(&format!("{prefix}_{suffix}"))?.as_f64();
    Some(Added {
        median: number("added_ns")?,
        spread: number("added_spread")?,
    })
}

/// `57 ±3 ns, 0.09 ±0.01 of kretprobe`. A figure within its spread says so, and has no ratio.
fn cell(added: Added, peer: Option<Added>, unit: &str) -> String {
    let Added { median, spread } = added;
    let mut text = format!("{median} ±{spread} {unit}");
    if median.abs() <= spread {
        text.push_str(" (within the spread)");
        return text;
    }
    if let Some(peer) = peer.filter(|peer| peer.median > peer.spread) {
        let ratio = median / peer.median;
        let spread = ratio.abs() * (spread / median.abs() + peer.spread / peer.median);
        let _ = write!(text, ", {ratio:.2} ±{spread:.2} of kretprobe");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing;
    use protocol::event::Outcome;

    fn report(measurements: &[(&str, i64)]) -> Report {
        let mut scenario = testing::scenario(SCENARIO, "fexit", "5.5", "6.1.0", Outcome::Passed);
        let measured = measurements
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).into()));
        scenario.measurements = measured.collect();
        Report::new(vec![testing::kernel("6.1", vec![scenario])])
    }

    #[test]
    fn table_has_median_spread_and_ratio_to_kretprobe() {
        let report = report(&[
            ("fexit_empty_added_ns", 60),
            ("fexit_empty_added_spread", 6),
            ("fentry_empty_added_ns", -4),
            ("fentry_empty_added_spread", 9),
            ("kretprobe_empty_added_ns", 600),
            ("kretprobe_empty_added_spread", 60),
        ]);
        let rows: Vec<_> = rows(&report).collect();
        assert_eq!(
            rows,
            [[
                "6.1",
                "60 ±6 ns, 0.10 ±0.02 of kretprobe",
                "-4 ±9 ns (within the spread)",
                "",
                "600 ±60 ns",
                ""
            ]]
        );
        assert_eq!(headings().len(), rows[0].len());
    }

    #[test]
    fn instructions_are_named_and_a_peer_within_its_spread_gives_no_ratio() {
        let mut report = report(&[
            ("fexit_empty_added_ns", 57),
            ("fexit_empty_added_spread", 0),
            ("kretprobe_empty_added_ns", 5),
            ("kretprobe_empty_added_spread", 9),
        ]);
        report.kernels[0].icount = true;
        assert_eq!(rows(&report).next().unwrap()[1], "57 ±0 instructions");
    }

    #[test]
    fn report_without_the_scenario_has_no_rows() {
        assert_eq!(rows(&report(&[])).count(), 0);
    }
}
