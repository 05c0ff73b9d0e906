//! `Packages`: the packages of an archive, one stanza for each.

use crate::kernels::sources::index::Entry;

/// All packages of an index, in its order.
pub(crate) fn parse(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut entry = Entry::default();
    let mut empty = true;
    for line in text.lines().chain([""]) {
        if line.trim_end().is_empty() {
            if !empty {
                entries.push(std::mem::take(&mut entry));
                empty = true;
            }
            continue;
        }
        empty = false;
        // A line that begins with a blank continues a field. The fields that are needed have one line.
        if line.starts_with([' ', '\t']) {
            continue;
        }
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim().to_owned();
        match name {
            "Package" => entry.package = value,
            "Version" => entry.version = Some(value),
            "Filename" => entry.path = Some(value),
            "Size" => entry.size = Some(value),
            "SHA256" => entry.sha256 = Some(value),
            _ => {}
        }
    }
    entries
}
