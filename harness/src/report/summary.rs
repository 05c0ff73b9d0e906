//! The summary that ends a run: a table of kernels, the problems, and the minimums that are not confirmed.

use std::{collections::BTreeSet, fmt::Display};

use anstyle::Style;

use crate::{
    kernels::Arch,
    report::{
        Tree,
        model::{Confirmed, KernelReport, Minimum, Report},
        terminal::{NAME_WIDTH, excerpt},
        text::Text,
        verdict::ScenarioVerdict,
    },
    support::interrupt::is_interruption,
};

/// The lines of the summary.
pub fn lines(report: &Report) -> Vec<Text> {
    let names = report.kernels.iter().map(|kernel| kernel.requested.len());
    let width = names.chain([NAME_WIDTH]).max().unwrap_or_default();
    let heading = [
        &"kernel" as &dyn Display,
        &"release",
        &"verdict",
        &"ok",
        &"not-ok",
        &"unknown",
        &"boot",
        &"total",
    ];
    let heading = row(width, heading, Style::new());
    let mut lines = vec![Text::default(), heading];
    lines.extend(report.kernels.iter().map(|kernel| line(width, kernel)));
    lines.extend(more(report).into_iter().map(Text::from));
    lines
}

/// The lines below the table.
fn more(report: &Report) -> Vec<String> {
    let mut lines: Vec<_> = report.kernels.iter().flat_map(problems).collect();
    lines.extend(report.kernels.iter().filter_map(backports));
    for object in &report.objects {
        lines.extend(object.not_ours.iter().map(|program| {
            format!(
                "{}: {} is not tried: programs of type `{}` are not loaded here",
                object.path, program.name, program.kind
            )
        }));
    }
    let unconfirmed: Vec<_> = report.minimums.iter().filter_map(unconfirmed).collect();
    // One kernel cannot confirm a minimum from both sides.
    if report.kernels.len() > 1 && !unconfirmed.is_empty() {
        lines.push("\nminimum kernels that this run does not confirm from both sides:".to_owned());
        lines.extend(unconfirmed);
    }
    lines
}

/// A row of the table; the style is that of the verdict.
fn row(width: usize, cells: [&dyn Display; 8], style: Style) -> Text {
    let [kernel, release, verdict, ok, not_ok, unknown, boot, total] = cells;
    let mut row = Text::from(format!("{kernel:<width$}  {release:<28}  "));
    row.push_styled(style, format_args!("{verdict:<7}"));
    row.push(format_args!(
        "  {ok:>4}  {not_ok:>6}  {unknown:>7}  {boot:>8}  {total:>8}"
    ));
    row
}

fn line(width: usize, kernel: &KernelReport) -> Text {
    let seconds = |ms: Option<u64>| {
        ms.map_or_else(
            || "–".to_owned(),
            |ms| format!("{:.1} s", ms as f64 / 1000.0),
        )
    };
    let cells = [
        &kernel.requested as &dyn Display,
        &kernel.release.as_deref().unwrap_or("–"),
        &kernel.verdict,
        &kernel.count(ScenarioVerdict::Ok),
        &kernel.count(ScenarioVerdict::NotOk),
        &kernel.count(ScenarioVerdict::Unknown),
        &seconds(kernel.phases_ms.boot),
        &seconds(kernel.phases_ms.total),
    ];
    row(width, cells, kernel.verdict.style())
}

fn problems(kernel: &KernelReport) -> Vec<String> {
    let name = &kernel.requested;
    let mut lines = Vec::new();
    for result in kernel.not_ok() {
        // The full error was printed when the scenario or program ended.
        let error = excerpt(result.error(), 1).concat();
        let repeated = kernel.repeated(result.name());
        let repeated = repeated.map_or_else(String::new, |(failed, of)| {
            format!(" in {failed} of {of} repetitions")
        });
        lines.push(format!(
            "{name}: {} {}{repeated}: {error}",
            result.name(),
            result.outcome
        ));
    }
    for result in kernel.flaky() {
        let tries: Vec<_> = kernel.tries_of(result.name()).collect();
        let first = tries
            .first()
            .map(|first| excerpt(first.error(), 1).concat());
        lines.push(format!(
            "{name}: {} is flaky: it passed after {} failed tries, the first: {}",
            result.name(),
            tries.len(),
            first.unwrap_or_default()
        ));
    }
    if let Some(error) = &kernel.error {
        lines.push(format!("{name}: {error}"));
        if !is_interruption(error) {
            lines.extend(kernel.console_tail.iter().map(|line| format!("    {line}")));
            let command = kernel.qemu_command.iter();
            lines.extend(
                command.map(|c| format!("  to repeat it by hand, with the files of --keep: {c}")),
            );
        }
    }
    lines
}

/// The most helpers, map types and program types that a line names.
const MAX_NAMED: usize = 5;

/// A line about what a vendor's kernel has before the release that brought it.
fn backports(kernel: &KernelReport) -> Option<String> {
    if kernel.tree != Some(Tree::Vendor) {
        return None;
    }
    let scenarios = || kernel.scenarios.iter();
    let mut found = Vec::new();
    for scenario in scenarios().filter(|scenario| scenario.backported) {
        if let (Some(feature), Some(minimum)) = (&scenario.feature, &scenario.minimum) {
            let name = format!("{feature} ({minimum})");
            if !found.contains(&name) {
                found.push(name);
            }
        }
    }
    let rows: BTreeSet<_> = scenarios()
        .flat_map(|scenario| scenario.backports.iter().cloned())
        .collect();
    if rows.len() <= MAX_NAMED {
        found.extend(rows);
    } else {
        found.push(format!(
            "{} helpers, map types and program types (`backports` in the JSON report)",
            rows.len()
        ));
    }
    let name = &kernel.requested;
    (!found.is_empty()).then(|| format!("{name}: backported by its vendor: {}", found.join(", ")))
}

/// A line about a claimed minimum that is not confirmed from both sides.
fn unconfirmed(minimum: &Minimum) -> Option<String> {
    let Minimum {
        arch,
        feature,
        claimed,
        refused_up_to,
        passed_from,
        confirmed,
        ..
    } = minimum;
    let why = match (confirmed, refused_up_to, passed_from) {
        (Confirmed::Both, ..) => return None,
        (Confirmed::Contradicted, refused, passed) => {
            let seen = |version: &Option<String>| version.clone().unwrap_or("none".to_owned());
            format!(
                "contradicted: refused up to {}, passed from {}",
                seen(refused),
                seen(passed)
            )
        }
        (_, Some(refused), _) => format!("refused up to {refused}, passed on none"),
        (_, _, Some(passed)) => format!("passed from {passed} on, refused on none"),
        (_, None, None) => "neither refused nor passed on any kernel".to_owned(),
    };
    let on_arch = match arch {
        Arch::X86_64 => String::new(),
        Arch::Arm64 => format!(" on {arch}"),
    };
    let claimed = match claimed {
        Some(claimed) => format!("from {claimed} on"),
        // There is no other side.
        None if *confirmed == Confirmed::OneSide => return None,
        None => "in no release".to_owned(),
    };
    Some(format!("  {feature}{on_arch}, {claimed}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{broken_kernel, kernel, scenario};
    use protocol::event::Outcome::{Failed, Passed, Unsupported};

    fn texts(report: &Report) -> Vec<String> {
        lines(report).iter().map(Text::to_string).collect()
    }

    #[test]
    fn summary_names_problems_and_unconfirmed_minimums() {
        let on = |version: &str, attach, cookie| {
            let scenarios = vec![
                scenario("attach", "fexit", "5.5", version, attach),
                scenario("cookie", "cookie", "5.19", version, cookie),
                scenario("session", "fsession", "7.0", version, Unsupported),
            ];
            kernel(version, scenarios)
        };
        let report = Report::new(vec![
            on("5.10.1", Passed, Unsupported),
            on("6.1.2", Failed, Passed),
            broken_kernel("9.9", "no such kernel"),
        ]);
        let lines = texts(&report);
        for expected in [
            "6.1.2: attach failed: why <it> did",
            "9.9: no such kernel",
            "  fexit, from 5.5 on: passed from 5.10 on, refused on none",
            "  fsession, from 7.0 on: refused up to 6.1, passed on none",
        ] {
            assert!(
                lines.iter().any(|line| line == expected),
                "no `{expected}` in {lines:#?}"
            );
        }
        assert!(
            !lines.iter().any(|line| line.contains("cookie,")),
            "{lines:#?}"
        );
    }

    #[test]
    fn summary_lists_the_backports_of_a_vendor_kernel() {
        let mut cookie = scenario("cookie", "cookie", "5.19", "5.14.0", Passed);
        cookie.backported = true;
        let mut table = scenario("table", "fexit", "5.5", "5.14.0", Passed);
        table.backports = vec!["bpf_loop (5.17)".to_owned()];
        let scenarios = vec![cookie.clone(), cookie, table];
        let mut vendor = kernel("5.14.0", scenarios);
        vendor.tree = Some(Tree::Vendor);
        let lines = texts(&Report::new(vec![vendor]));
        let expected = "5.14.0: backported by its vendor: cookie (5.19), bpf_loop (5.17)";
        assert!(lines.iter().any(|line| line == expected), "{lines:#?}");

        let mut table = scenario("table", "fexit", "5.5", "5.14.0", Passed);
        table.backports = (0..6).map(|n| format!("bpf_{n} (5.17)")).collect();
        let mut vendor = kernel("5.14.0", vec![table]);
        vendor.tree = Some(Tree::Vendor);
        let lines = texts(&Report::new(vec![vendor]));
        let expected = "by its vendor: 6 helpers, map types and program types (`backports`";
        assert!(
            lines.iter().any(|line| line.contains(expected)),
            "{lines:#?}"
        );
    }

    #[test]
    fn summary_of_one_kernel_omits_one_sided_minimums() {
        let scenarios = vec![scenario("attach", "fexit", "5.5", "5.10.1", Passed)];
        let lines = texts(&Report::new(vec![kernel("5.10.1", scenarios)]));
        assert_eq!(lines.len(), 3, "{lines:#?}");
    }
}
