//! What a program adds to a call, by kernel and attach type.

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::{
    Plot,
    plot::{Area, TEXT, colour, legend, name_at, svg},
};
use crate::report::{
    model::Report,
    overhead::{OnKernel, TYPES, figures},
};

const HEIGHT: u32 = 380;

/// The plot; `None` if no kernel ran the scenario.
pub(super) fn plot(report: &Report) -> Result<Option<Plot>> {
    let figures: Vec<_> = figures(report).collect();
    let Some(first) = figures.first() else {
        return Ok(None);
    };
    let unit = first.unit;
    // A merged report may have both units, which no axis can.
    let figures: Vec<_> = figures.into_iter().filter(|of| of.unit == unit).collect();
    let svg = svg(HEIGHT, |area| {
        draw(area, &figures)
            .map_err(|error| anyhow!("cannot draw the plot of the overhead: {error}"))
    })?;
    let caption = format!(
        "Median over rounds in {unit} per call of an empty program, and the range of the middle half of the rounds."
    );
    Ok(Some(Plot {
        title: "What a program adds to a call",
        caption,
        series: TYPES
            .iter()
            .enumerate()
            .map(|(at, (name, _))| legend(at, name))
            .collect(),
        svg,
    }))
}

fn draw(area: &Area<'_>, figures: &[OnKernel<'_>]) -> Result<(), Box<dyn std::error::Error>> {
    let kernels: Vec<_> = figures.iter().map(|of| of.kernel.to_owned()).collect();
    let added = figures.iter().flat_map(|of| of.added).flatten();
    let ends = added.map(|added| (added.median - added.spread, added.median + added.spread));
    let (low, high) = ends.fold((0.0_f64, 1.0_f64), |(low, high), (from, to)| {
        (low.min(from), high.max(to))
    });
    let mut chart = ChartBuilder::on(area)
        .margin(TEXT)
        .set_label_area_size(LabelAreaPosition::Left, 60)
        .set_label_area_size(LabelAreaPosition::Bottom, 2 * TEXT)
        .build_cartesian_2d((0..kernels.len() - 1).into_segmented(), low..high * 1.05)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(kernels.len())
        .x_label_formatter(&|place| name_at(&kernels, place))
        .y_desc(figures.first().map_or("", |of| of.unit))
        .label_style(("sans-serif", TEXT))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for series in 0..TYPES.len() {
        let colour = colour(series);
        let points = figures.iter().enumerate().filter_map(|(x, of)| {
            let added = of.added.get(series).copied().flatten()?;
            Some((SegmentValue::CenterOf(x), added))
        });
        let points: Vec<_> = points.collect();
        let line = points.iter().map(|(x, added)| (x.clone(), added.median));
        chart.draw_series(LineSeries::new(line, colour))?;
        chart.draw_series(points.iter().map(|(x, added)| {
            let (low, high) = (added.median - added.spread, added.median + added.spread);
            ErrorBar::new_vertical(x.clone(), low, added.median, high, colour.filled(), 8)
        }))?;
    }
    Ok(())
}
