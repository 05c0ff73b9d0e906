//! The report as Markdown, for a job summary or a pull request: a column for each kernel, a row for each scenario.

use std::fmt::Write as _;

use super::{
    Tree,
    matrix::{self, Cell, Row},
    minimums,
    model::{KernelReport, Report},
    overhead,
    verdict::ScenarioVerdict,
    verifier_table::Table,
};

/// The characters of an error that are shown.
const LINE_WIDTH: usize = 400;

/// Renders the report.
pub fn page(report: &Report) -> String {
    let mut page = format!(
        "## fexit on {} kernels: {}\n\n",
        report.kernels.len(),
        report.verdict
    );
    results(report, &mut page);
    problems(report, &mut page);
    verifier_figures(report, &mut page);
    overhead_figures(report, &mut page);
    minimum_kernels(report, &mut page);
    page
}

fn results(report: &Report, page: &mut String) {
    let kernels = &report.kernels;
    row(
        page,
        ["scenario", "from"]
            .into_iter()
            .chain(kernels.iter().map(|k| k.requested.as_str())),
    );
    row(page, std::iter::repeat_n("---", kernels.len() + 2));
    for Row { id, from, cells } in matrix::rows(report) {
        let cells: Vec<_> = cells
            .iter()
            .map(|cell| cell.map(cell_text).unwrap_or_default())
            .collect();
        let cells = cells.iter().map(String::as_str);
        row(page, [id.as_str(), from].into_iter().chain(cells));
    }
    let verdicts: Vec<_> = kernels
        .iter()
        .map(|kernel| format!("**{}**", kernel.verdict))
        .collect();
    row(
        page,
        ["**verdict**", ""]
            .into_iter()
            .chain(verdicts.iter().map(String::as_str)),
    );
    let releases = kernels
        .iter()
        .map(|kernel| kernel.release.as_deref().unwrap_or("not known"));
    row(page, ["release", ""].into_iter().chain(releases));
    let trees = kernels.iter().map(|kernel| match kernel.tree {
        Some(Tree::Mainline) => "mainline",
        Some(Tree::Vendor) => "vendor",
        None => "not known",
    });
    row(page, ["tree", ""].into_iter().chain(trees));
}

fn cell_text(cell: Cell<'_>) -> String {
    let sign = match cell.verdict() {
        ScenarioVerdict::Ok => "✅",
        ScenarioVerdict::Unknown => "❔",
        ScenarioVerdict::NotOk => "❌",
    };
    format!("{sign} {}", cell.note()).trim_end().to_owned()
}

fn verifier_figures(report: &Report, page: &mut String) {
    let table = Table::new(report, &[]);
    let mut rows = table.verified().peekable();
    if rows.peek().is_none() {
        return;
    }
    page.push_str("\n### Verifier\n\n");
    row(page, Table::headings());
    row(page, Table::headings().map(|_| "---"));
    for cells in rows {
        row(page, cells.iter().map(String::as_str));
    }
}

fn overhead_figures(report: &Report, page: &mut String) {
    let mut rows = overhead::rows(report).peekable();
    if rows.peek().is_none() {
        return;
    }
    page.push_str("\n### What a program adds to a call\n\n");
    row(page, overhead::headings());
    row(page, overhead::headings().iter().map(|_| "---"));
    for cells in rows {
        row(page, cells.iter().map(String::as_str));
    }
}

fn problems(report: &Report, page: &mut String) {
    let mut lines = Vec::new();
    for kernel in &report.kernels {
        let name = &kernel.requested;
        if let Some(error) = &kernel.error {
            lines.push(format!("- **{name}**: {}", one_line(error)));
        }
        lines.extend(kernel.not_ok().map(|result| {
            let (id, error) = (one_line(result.name()), one_line(result.error()));
            format!("- **{name}**, `{id}` {}: {error}", result.outcome)
        }));
        lines.extend(kernel.contradicting_results().map(|other| {
            let id = one_line(other.name());
            format!("- **{name}**, `{id}`: another report has {}", other.outcome)
        }));
    }
    section("What is not ok", &lines, page);
    let flaky = report.kernels.iter().flat_map(flaky);
    section("What is flaky", &flaky.collect::<Vec<_>>(), page);
    for kernel in report
        .kernels
        .iter()
        .filter(|kernel| !kernel.console_tail.is_empty())
    {
        console(kernel, page);
    }
}

/// What passed after it had failed, and how it failed first.
fn flaky(kernel: &KernelReport) -> Vec<String> {
    let line = |result: super::ResultSummary| {
        let id = one_line(result.name());
        let tries: Vec<_> = kernel.tries_of(result.name()).collect();
        let first = tries.first().map(|first| one_line(first.error()));
        let (count, first) = (tries.len(), first.unwrap_or_default());
        let name = &kernel.requested;
        format!("- **{name}**, `{id}`: passed after {count} failed tries: {first}")
    };
    kernel.flaky().map(line).collect()
}

fn section(title: &str, lines: &[String], page: &mut String) {
    if !lines.is_empty() {
        let _ = write!(page, "\n### {title}\n\n{}\n", lines.join("\n"));
    }
}

fn console(kernel: &KernelReport, page: &mut String) {
    let tail = kernel.console_tail.join("\n").replace("```", "'''");
    let _ = write!(
        page,
        "\n<details><summary>Last lines of the console of {}</summary>\n\n```\n{tail}\n```\n\n</details>\n",
        kernel.requested
    );
}

fn minimum_kernels(report: &Report, page: &mut String) {
    if report.minimums.is_empty() {
        return;
    }
    page.push_str("\n### Minimum kernels\n\n");
    row(page, minimums::HEADINGS);
    row(page, minimums::HEADINGS.map(|_| "---"));
    for minimum in &report.minimums {
        row(page, minimums::cells(minimum).iter().map(String::as_str));
    }
}

fn row<'a>(page: &mut String, cells: impl IntoIterator<Item = &'a str>) {
    page.push('|');
    for cell in cells {
        let _ = write!(page, " {} |", one_line(cell));
    }
    page.push('\n');
}

/// Shortens a text to one line, and escapes what ends a table's cell or starts markup.
fn one_line(text: &str) -> String {
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut line: String = joined.chars().take(LINE_WIDTH).collect();
    if line.len() < joined.len() {
        line.push_str("...");
    }
    line.replace('|', "\\|").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{broken_kernel, kernel, scenario};
    use protocol::event::Outcome;

    #[test]
    fn matrix_has_kernels_as_columns_and_scenarios_as_rows() {
        let on = |version: &str, cookie| {
            let scenarios = vec![
                scenario("attach", "fexit", "5.5", version, Outcome::Passed),
                scenario("cookie", "cookie", "5.19", version, cookie),
            ];
            kernel(version, scenarios)
        };
        let vendor = |version: &str, in_btf| {
            let mut kernel = on(version, Outcome::Passed);
            kernel.tree = Some(Tree::Vendor);
            for scenario in &mut kernel.scenarios {
                scenario.verdict = ScenarioVerdict::Ok;
                scenario.backported = scenario.id == "cookie";
                scenario.in_btf = in_btf;
            }
            kernel
        };
        let mut flaky = on("7.3.0", Outcome::Failed);
        flaky.scenarios[0].flaky = true;
        let mut failed = super::super::ResultSummary::from(&flaky.scenarios[0]);
        failed.error = Some("too <slow>".to_owned());
        flaky.earlier_tries.push(failed);
        let report = Report::new(vec![
            flaky,
            on("5.10.1", Outcome::Unsupported),
            on("6.1.2", Outcome::Failed),
            vendor("5.14.0", Some(true)),
            vendor("4.18.0", None),
            broken_kernel("9.9", "no | such\nkernel"),
        ]);
        let page = page(&report);
        for line in [
            "- **7.3.0**, `attach`: passed after 1 failed tries: too &lt;slow>",
            "| scenario | from | 7.3.0 | 5.10.1 | 6.1.2 | 5.14.0 | 4.18.0 | 9.9 |",
            "| attach | 5.5 | ✅ flaky | ✅ | ✅ | ✅ | ✅ |  |",
            "| cookie | 5.19 | ❌ failed | ✅ refused | ❌ failed | ✅ backported | ✅ backported, by behaviour |  |",
            "| tree |  | mainline | mainline | mainline | vendor | vendor | not known |",
            "- **6.1.2**, `cookie` failed: why &lt;it> did not pass",
            "- **9.9**: no \\| such kernel",
            "| cookie | x86_64 | 5.19 | 5.10 | – | 4.18, 5.14 | from one side |",
        ] {
            assert!(
                page.lines().any(|l| l == line),
                "no line\n{line}\nin\n{page}"
            );
        }
    }
}
