//! The kernels of the matrix, as a table for a terminal.

use std::fmt::Write as _;

use crate::kernels::operations::Series;

/// One line per series: its name, version and source, and whether it is in the cache.
pub fn of(series: &[Series]) -> String {
    let mut table = String::new();
    let width = series.iter().map(|series| series.name.len()).max();
    let width = width.unwrap_or(0);
    for Series {
        name,
        source,
        version,
        size,
        cached,
        built,
        lower_side,
        in_all,
        ..
    } in series
    {
        let version = version.as_deref().unwrap_or("not locked");
        let built = built.as_ref().map_or_else(String::new, |built| {
            let side = if *lower_side { ", without fexit" } else { "" };
            format!("; {built} is here{side}")
        });
        let size = size.map_or_else(String::new, |size| format!("{:.0} MB", size as f64 / 1e6));
        let here = if *cached { "cached" } else { "" };
        let mark = if *in_all { ' ' } else { '-' };
        let line =
            format!("{name:<width$} {mark} {version:<10}  {size:>6}  {here:<6}  {source}{built}");
        let _ = writeln!(table, "{}", line.trim_end());
    }
    table.push_str("(- is not in `all`)\n");
    table
}
