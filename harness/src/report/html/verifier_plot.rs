//! The instructions that the verifier processed for each program, by kernel.

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::{
    Plot,
    plot::{Area, TEXT, axis, colour, legend, name_at, svg},
};
use crate::report::model::Report;

const HEIGHT: u32 = 380;
/// More lines cannot be told apart.
const MOST: usize = 7;

/// The instructions of a program on each kernel.
struct Line {
    name: String,
    processed: Vec<Option<u64>>,
}

impl Line {
    fn largest(&self) -> u64 {
        self.processed.iter().copied().flatten().max().unwrap_or(0)
    }
}

/// The plot; `None` if no program was verified.
pub(super) fn plot(report: &Report) -> Result<Option<Plot>> {
    let mut lines = lines(report);
    lines.sort_by_key(|line| std::cmp::Reverse(line.largest()));
    let all = lines.len();
    lines.truncate(MOST);
    if lines.is_empty() {
        return Ok(None);
    }
    let kernels: Vec<_> = report.kernels.iter().map(|k| k.requested.clone()).collect();
    let svg = svg(HEIGHT, |area| {
        draw(area, &kernels, &lines)
            .map_err(|error| anyhow!("cannot draw the plot of the verifier: {error}"))
    })?;
    let which = match all > MOST {
        true => format!(" The {MOST} programs with the most, of {all}."),
        false => String::new(),
    };
    Ok(Some(Plot {
        title: "Instructions that the verifier processed",
        caption: format!("Over all paths of a program; logarithmic.{which}"),
        series: lines
            .iter()
            .enumerate()
            .map(|(at, line)| legend(at, &line.name))
            .collect(),
        svg,
    }))
}

fn lines(report: &Report) -> Vec<Line> {
    let mut ids: Vec<(String, String)> = Vec::new();
    for program in report.kernels.iter().flat_map(|kernel| &kernel.programs) {
        let id = (program.id(), program.name());
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    let line = |(id, name): (String, String)| {
        let processed = report.kernels.iter().map(|kernel| {
            let verifier = kernel.program(&id)?.result.verifier.as_ref()?;
            Some(verifier.instructions_processed)
        });
        let processed: Vec<_> = processed.collect();
        Line { name, processed }
    };
    let lines = ids.into_iter().map(line);
    lines.filter(|line| line.largest() > 0).collect()
}

fn draw(
    area: &Area<'_>,
    kernels: &[String],
    lines: &[Line],
) -> Result<(), Box<dyn std::error::Error>> {
    let values = lines.iter().flat_map(|line| &line.processed).flatten();
    let low = values.clone().min().copied().unwrap_or(1).max(1);
    let high = values.max().copied().unwrap_or(1).max(low + 1);
    let mut chart = ChartBuilder::on(area)
        .margin(TEXT)
        .set_label_area_size(LabelAreaPosition::Left, 80)
        .set_label_area_size(LabelAreaPosition::Bottom, 2 * TEXT)
        .build_cartesian_2d(axis(kernels), (low..high.saturating_mul(2)).log_scale())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(kernels.len())
        .x_label_formatter(&|place| name_at(kernels, place))
        .y_desc("instructions")
        .label_style(("sans-serif", TEXT))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (series, line) in lines.iter().enumerate() {
        let colour = colour(series);
        let points = line.processed.iter().enumerate();
        let points = points.filter_map(|(x, y)| Some((SegmentValue::CenterOf(x), (*y)?)));
        let points: Vec<_> = points.collect();
        chart.draw_series(LineSeries::new(points.clone(), colour).point_size(3))?;
    }
    Ok(())
}
