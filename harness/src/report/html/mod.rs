//! The report as one HTML page, which loads nothing else: a matrix whose cells open their details, and plots.

mod details;
mod overhead_plot;
mod plot;
mod timeline;
mod verifier_plot;

use anyhow::{Context as _, Result};
use askama::Template;

use self::details::Details;
use super::{
    matrix::{self, Cell},
    minimums,
    model::{KernelReport, Report},
    overhead,
    verdict::ScenarioVerdict,
    verifier_table::Table,
};

/// Renders the report.
pub fn page(report: &Report) -> Result<String> {
    let page = Page {
        report,
        counts: counts(report),
        kernels: report.kernels.iter().map(kernel_details).collect(),
        rows: rows(report),
        tables: tables(report),
        plots: plots(report)?,
    };
    page.render().context("cannot render the report as HTML")
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    report: &'a Report,
    counts: [(ScenarioVerdict, usize); 3],
    kernels: Vec<Details>,
    rows: Vec<Row<'a>>,
    tables: Vec<TextTable>,
    plots: Vec<Plot>,
}

/// One scenario or program.
struct Row<'a> {
    name: String,
    from: &'a str,
    cells: Vec<Option<(Cell<'a>, Details)>>,
}

/// A table of texts.
struct TextTable {
    title: &'static str,
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

/// An SVG image, and what it shows.
struct Plot {
    title: &'static str,
    caption: String,
    /// The colour and the name of each series.
    series: Vec<(String, String)>,
    svg: String,
}

/// The sign of a verdict, for those who do not see its colour.
fn sign(verdict: ScenarioVerdict) -> char {
    match verdict {
        ScenarioVerdict::Ok => '✓',
        ScenarioVerdict::NotOk => '✗',
        ScenarioVerdict::Unknown => '?',
    }
}

fn counts(report: &Report) -> [(ScenarioVerdict, usize); 3] {
    use ScenarioVerdict::{NotOk, Ok, Unknown};
    [Ok, NotOk, Unknown].map(|verdict| {
        let count = |kernel: &KernelReport| kernel.count(verdict);
        (verdict, report.kernels.iter().map(count).sum())
    })
}

fn kernel_details(kernel: &KernelReport) -> Details {
    let mut summary = kernel.clone();
    summary.scenarios.clear();
    summary.programs.clear();
    Details::new(kernel.title(), &summary)
}

fn rows(report: &Report) -> Vec<Row<'_>> {
    matrix::rows(report)
        .into_iter()
        .map(|row| Row {
            name: name(&row),
            from: row.from,
            cells: cells(report, &row),
        })
        .collect()
}

fn name(row: &matrix::Row<'_>) -> String {
    match row.cells.iter().flatten().next() {
        Some(Cell::Program(program)) => program.name(),
        _ => row.id.clone(),
    }
}

fn cells<'a>(report: &Report, row: &matrix::Row<'a>) -> Vec<Option<(Cell<'a>, Details)>> {
    let cells = row.cells.iter().zip(&report.kernels);
    let cells = cells.map(|(cell, kernel)| {
        let title = format!("{} on {}", row.id, kernel.requested);
        cell.map(|cell| match cell {
            Cell::Scenario(scenario) => (cell, Details::new(title, scenario)),
            Cell::Program(program) => (cell, Details::new(title, program)),
        })
    });
    cells.collect()
}

fn tables(report: &Report) -> Vec<TextTable> {
    let verifier = Table::new(report, &[]);
    let tables = [
        TextTable {
            title: "Minimum kernels",
            headings: minimums::HEADINGS.to_vec(),
            rows: report
                .minimums
                .iter()
                .map(|m| minimums::cells(m).to_vec())
                .collect(),
        },
        TextTable {
            title: "What a program adds to a call",
            headings: overhead::headings(),
            rows: overhead::rows(report).collect(),
        },
        TextTable {
            title: "Verifier",
            headings: Table::headings().to_vec(),
            rows: verifier.verified().map(|cells| cells.to_vec()).collect(),
        },
    ];
    tables
        .into_iter()
        .filter(|table| !table.rows.is_empty())
        .collect()
}

fn plots(report: &Report) -> Result<Vec<Plot>> {
    let plots = [
        timeline::plot(report)?,
        overhead_plot::plot(report)?,
        verifier_plot::plot(report)?,
    ];
    Ok(plots.into_iter().flatten().collect())
}
