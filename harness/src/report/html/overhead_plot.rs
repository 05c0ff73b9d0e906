//! What a program adds to a call, by kernel and attach type.

use std::fmt::Write as _;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::{
    Plot,
    plot::{Area, TEXT, axis, colour, legend, name_at, svg},
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
    let (figures, others): (Vec<_>, Vec<_>) = figures.into_iter().partition(|of| of.unit == unit);
    let svg = svg(HEIGHT, |area| {
        draw(area, &figures)
            .map_err(|error| anyhow!("cannot draw the plot of the overhead: {error}"))
    })?;
    let mut caption = format!(
        "Median over rounds in {unit} per call of an empty program, and the range of the middle half of the rounds."
    );
    if let Some(other) = others.first() {
        let kernels: Vec<_> = others.iter().map(|of| of.kernel).collect();
        let _ = write!(
            caption,
            " Without {}, measured in {}.",
            kernels.join(", "),
            other.unit
        );
    }
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
        .build_cartesian_2d(axis(&kernels), low..high * 1.05)?;
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

#[cfg(test)]
mod tests {
    use protocol::event::Outcome;

    use super::*;
    use crate::report::testing;

    fn report(kernels: [(&str, bool); 2]) -> Report {
        let kernel = |(version, icount): (&str, bool)| {
            let mut scenario =
                testing::scenario("overhead", "fexit", "5.5", version, Outcome::Passed);
            let measured = [
                ("fexit_empty_added_ns", 60),
                ("fexit_empty_added_spread", 6),
            ];
            let measured = measured.map(|(name, value)| (name.to_owned(), value.into()));
            scenario.measurements = measured.into();
            let mut kernel = testing::kernel(version, vec![scenario]);
            kernel.icount = icount;
            kernel
        };
        Report::new(kernels.map(kernel).into())
    }

    #[test]
    fn kernels_with_another_unit_are_left_out_and_named() {
        let plot_of = |kernels| plot(&report(kernels)).unwrap().unwrap();
        let both = plot_of([("5.10", false), ("6.1", true)]);
        assert!(both.caption.contains("in ns per call"), "{}", both.caption);
        let left_out = "Without 6.1, measured in instructions.";
        assert!(both.caption.contains(left_out), "{}", both.caption);
        assert!(both.svg.contains("5.10") && !both.svg.contains("6.1\n"));
        let one = plot_of([("5.10", false), ("6.1", false)]);
        assert!(!one.caption.contains("Without"), "{}", one.caption);
        assert!(one.svg.contains("6.1\n"), "{}", one.svg);
    }
}
