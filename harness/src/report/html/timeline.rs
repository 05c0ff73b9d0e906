//! Each feature's claimed minimum, and the releases that refused it and passed it.

use anyhow::{Result, anyhow};
use fexit::KernelVersion;
use plotters::prelude::*;

use super::{
    Plot,
    plot::{TEXT, axis, colour, name_at, svg},
};
use crate::kernels::Arch;
use crate::report::model::{KernelReport, Minimum, Report};

/// A feature, with its architecture if that is not x86-64.
fn name(minimum: &Minimum) -> String {
    match minimum.arch {
        Arch::X86_64 => minimum.feature.clone(),
        Arch::Arm64 => format!("{} ({})", minimum.feature, minimum.arch),
    }
}

/// The plot; `None` if the report has no minimum.
pub(super) fn plot(report: &Report) -> Result<Option<Plot>> {
    let releases = releases(report);
    // The vertical axis goes up.
    let minimums: Vec<_> = report.minimums.iter().rev().collect();
    if minimums.is_empty() || releases.is_empty() {
        return Ok(None);
    }
    let features: Vec<_> = minimums.iter().map(|m| name(m)).collect();
    let rows = u32::try_from(features.len())?;
    let svg = svg((rows + 4) * (TEXT + 4), |area| {
        draw(area, &minimums, &features, &releases)
            .map_err(|error| anyhow!("cannot draw the timeline: {error}"))
    })?;
    Ok(Some(Plot {
        title: "Minimum kernels, claimed and observed",
        caption: "Diamond: claimed minimum. Thin line: up to the newest kernel that refused it. Thick line: from the \
                  oldest kernel that passed."
            .to_owned(),
        series: Vec::new(),
        svg,
    }))
}

/// The releases of the kernels and of the claims, oldest first.
fn releases(report: &Report) -> Vec<String> {
    let kernels = report
        .kernels
        .iter()
        .filter_map(KernelReport::kernel_version);
    let claims = report
        .minimums
        .iter()
        .filter_map(|m| m.claimed.as_deref()?.parse().ok());
    let mut versions: Vec<KernelVersion> = kernels.chain(claims).collect();
    versions.sort_unstable();
    let mut names: Vec<_> = versions.iter().map(|v| v.series().to_string()).collect();
    names.dedup();
    names
}

fn draw(
    area: &super::plot::Area<'_>,
    minimums: &[&Minimum],
    features: &[String],
    releases: &[String],
) -> Result<(), Box<dyn std::error::Error>> {
    let mut chart = ChartBuilder::on(area)
        .margin(TEXT)
        .set_label_area_size(LabelAreaPosition::Left, 190)
        .set_label_area_size(LabelAreaPosition::Top, 2 * TEXT)
        .build_cartesian_2d(axis(releases), axis(features))?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(releases.len())
        .y_labels(features.len())
        .x_label_formatter(&|place| name_at(releases, place))
        .y_label_formatter(&|place| name_at(features, place))
        .label_style(("sans-serif", TEXT))
        .light_line_style(TRANSPARENT)
        .draw()?;
    let place = |release: &str| releases.iter().position(|name| name == release);
    for (row, minimum) in minimums.iter().enumerate() {
        let at = |x: usize| (SegmentValue::CenterOf(x), SegmentValue::CenterOf(row));
        if let Some(last) = minimum.refused_up_to.as_deref().and_then(place) {
            let line = vec![
                (SegmentValue::Exact(0), SegmentValue::CenterOf(row)),
                at(last),
            ];
            chart.draw_series([PathElement::new(line, colour(4))])?;
        }
        if let Some(first) = minimum.passed_from.as_deref().and_then(place) {
            let line = vec![at(first), (SegmentValue::Last, SegmentValue::CenterOf(row))];
            chart.draw_series([PathElement::new(line, colour(2).stroke_width(6))])?;
        }
        if let Some(claimed) = minimum.claimed.as_deref().and_then(place) {
            let diamond = [(0, -5), (5, 0), (0, 5), (-5, 0)].to_vec();
            let sign = EmptyElement::at(at(claimed)) + Polygon::new(diamond, BLACK);
            chart.draw_series([sign])?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use protocol::event::Outcome;

    use super::*;
    use crate::report::testing;

    #[test]
    fn a_single_feature_has_its_name() {
        let report = testing::report(&[("attach", Outcome::Passed)]);
        let svg = plot(&report).unwrap().unwrap().svg;
        assert!(svg.contains("fexit\n"), "{svg}");
    }
}
