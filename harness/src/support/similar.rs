//! Suggestions for a name that does not exist.

/// The minimum similarity of a suggested name.
const SIMILAR: f64 = 0.75;

/// The names that are most similar to `text` or contain it, three at most.
pub(crate) fn similar<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut similar: Vec<_> = names
        .map(|name| (strsim::jaro_winkler(text, name), name))
        .filter(|(similarity, name)| *similarity >= SIMILAR || name.contains(text))
        .collect();
    similar.sort_by(|a, b| b.0.total_cmp(&a.0));
    similar.into_iter().take(3).map(|(_, name)| name).collect()
}
