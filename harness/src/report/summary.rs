//! The end of a run, for people: a table, what to look into, and how well the minimums are established.

use crate::{
    report::{
        KernelReport, Minimum, Report, ScenarioVerdict,
        minimums::Confirmed,
        terminal::{NAME_WIDTH, excerpt},
        verdict::outcome_name,
    },
    support::interrupt::INTERRUPTED,
};

/// The whole run in lines.
pub fn lines(report: &Report) -> Vec<String> {
    let mut lines = vec![String::new(), heading()];
    lines.extend(report.kernels.iter().map(line));
    lines.extend(report.kernels.iter().flat_map(problems));
    let doubts: Vec<_> = report.minimums.iter().filter_map(doubt).collect();
    for object in &report.objects {
        lines.extend(object.not_ours.iter().map(|program| {
            format!(
                "{}: {} is not fexit but {}, and was left alone",
                object.path, program.name, program.kind
            )
        }));
    }
    // One kernel can confirm nothing from both sides.
    if report.kernels.len() > 1 && !doubts.is_empty() {
        lines.push("\nminimum kernels that this run does not confirm from both sides:".to_owned());
        lines.extend(doubts);
    }
    lines
}

fn heading() -> String {
    format!(
        "{:<NAME_WIDTH$}  {:<28}  {:<7}  {:>4}  {:>6}  {:>7}  {:>8}  {:>8}",
        "kernel", "release", "verdict", "ok", "not-ok", "unknown", "boot", "total"
    )
}

fn line(kernel: &KernelReport) -> String {
    let seconds = |ms: Option<u64>| {
        ms.map_or_else(
            || "–".to_owned(),
            |ms| format!("{:.1} s", ms as f64 / 1000.0),
        )
    };
    format!(
        "{:<NAME_WIDTH$}  {:<28}  {:<7}  {:>4}  {:>6}  {:>7}  {:>8}  {:>8}",
        kernel.requested,
        kernel.release.as_deref().unwrap_or("–"),
        kernel.verdict,
        kernel.count(ScenarioVerdict::Ok),
        kernel.count(ScenarioVerdict::NotOk),
        kernel.count(ScenarioVerdict::Unknown),
        seconds(kernel.phases_ms.boot),
        seconds(kernel.phases_ms.total),
    )
}

fn problems(kernel: &KernelReport) -> Vec<String> {
    let name = &kernel.requested;
    let mut lines = Vec::new();
    for scenario in kernel
        .scenarios
        .iter()
        .filter(|s| s.verdict == ScenarioVerdict::NotOk)
    {
        // The whole of it was printed when it happened.
        let why = excerpt(scenario.error.as_deref().unwrap_or_default(), 1).concat();
        lines.push(format!(
            "{name}: {} {}: {why}",
            scenario.id,
            outcome_name(scenario.outcome)
        ));
    }
    for program in kernel
        .programs
        .iter()
        .filter(|program| program.verdict == ScenarioVerdict::NotOk)
    {
        let why = excerpt(program.why().unwrap_or_default(), 1).concat();
        let outcome = program.result.outcome.name();
        lines.push(format!("{name}: {} {outcome}: {why}", program.name()));
    }
    if let Some(error) = &kernel.error {
        lines.push(format!("{name}: {error}"));
        if error != INTERRUPTED {
            lines.extend(kernel.console_tail.iter().map(|line| format!("    {line}")));
            let command = kernel.qemu_command.iter();
            lines
                .extend(command.map(|c| format!("  again by hand, with the files of --keep: {c}")));
        }
    }
    lines
}

/// What is lacking to a claimed minimum that is not confirmed from both sides.
fn doubt(minimum: &Minimum) -> Option<String> {
    let Minimum {
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
        (_, None, None) => "no kernel says anything".to_owned(),
    };
    Some(format!("  {feature}, from {claimed} on: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{broken_kernel, kernel, scenario};
    use protocol::event::Outcome::{Failed, Passed, Unsupported};

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
        let lines = lines(&report);
        for wanted in [
            "6.1.2: attach failed: why <it> did",
            "9.9: no such kernel",
            "  fexit, from 5.5 on: passed from 5.10 on, refused on none",
            "  fsession, from 7.0 on: refused up to 6.1, passed on none",
        ] {
            assert!(
                lines.iter().any(|line| line == wanted),
                "no `{wanted}` in {lines:#?}"
            );
        }
        assert!(
            !lines.iter().any(|line| line.contains("cookie,")),
            "{lines:#?}"
        );
    }

    #[test]
    fn summary_of_one_kernel_omits_one_sided_minimums() {
        let scenarios = vec![scenario("attach", "fexit", "5.5", "5.10.1", Passed)];
        let lines = lines(&Report::new(vec![kernel("5.10.1", scenarios)]));
        assert_eq!(lines.len(), 3, "{lines:#?}");
    }
}
