//! What all plots share: size, colours, and the kernels as the horizontal axis.

use anyhow::{Result, anyhow};
use plotters::coord::{
    Shift,
    ranged1d::{SegmentValue, SegmentedCoord},
    types::RangedCoordusize,
};
use plotters::prelude::*;

/// The area of an SVG image.
pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const WIDTH: u32 = 960;
/// The height of a line of text.
pub(super) const TEXT: u32 = 13;
/// For series: distinct for most colour-blind readers, on light and on dark (Okabe and Ito).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(213, 94, 0),
    RGBColor(86, 180, 233),
    RGBColor(140, 120, 20),
];

/// The colour of that series.
pub(super) fn colour(series: usize) -> RGBColor {
    COLOURS
        .get(series % COLOURS.len())
        .copied()
        .unwrap_or(BLACK)
}

/// Draws an SVG image of that height in pixels.
pub(super) fn svg(height: u32, draw: impl FnOnce(&Area<'_>) -> Result<()>) -> Result<String> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
    draw(&area)?;
    area.present()
        .map_err(|error| anyhow!("cannot draw a plot: {error}"))?;
    drop(area);
    Ok(svg)
}

/// An axis of names. It has two places at least: on one with a single place no label is drawn.
pub(super) fn axis(names: &[String]) -> SegmentedCoord<RangedCoordusize> {
    (0..names.len().saturating_sub(1).max(1)).into_segmented()
}

/// The name at a place of an axis of names.
pub(super) fn name_at(names: &[String], place: &SegmentValue<usize>) -> String {
    match place {
        SegmentValue::CenterOf(at) => names.get(*at).cloned().unwrap_or_default(),
        _ => String::new(),
    }
}

/// The colour of a series, as HTML writes it, and its name.
pub(super) fn legend(series: usize, name: &str) -> (String, String) {
    let RGBColor(red, green, blue) = colour(series);
    (format!("#{red:02x}{green:02x}{blue:02x}"), name.to_owned())
}
