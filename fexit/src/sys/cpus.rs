//! The CPUs of this machine, from `/sys`.

use std::io;

use super::read_kernel_file;

pub(crate) const POSSIBLE: &str = "/sys/devices/system/cpu/possible";
pub(crate) const ONLINE: &str = "/sys/devices/system/cpu/online";

/// The possible CPUs: a value of a per-CPU map has a slot for each.
pub(crate) fn possible_cpus() -> io::Result<Vec<u32>> {
    cpu_list(POSSIBLE)
}

/// The online CPUs.
pub(crate) fn online_cpus() -> io::Result<Vec<u32>> {
    cpu_list(ONLINE)
}

fn cpu_list(path: &str) -> io::Result<Vec<u32>> {
    let text = read_kernel_file(path)?;
    parse_cpu_list(&text).ok_or_else(|| io::Error::other(format!("{path} holds no list of CPUs")))
}

/// Parses a list like `0-3,7`.
fn parse_cpu_list(text: &str) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for range in text.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        cpus.extend(first.parse::<u32>().ok()?..=last.parse::<u32>().ok()?);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists_are_ranges() {
        assert_eq!(parse_cpu_list("0\n"), Some(vec![0]));
        assert_eq!(parse_cpu_list("0-2,5\n"), Some(vec![0, 1, 2, 5]));
        assert_eq!(parse_cpu_list(""), None);
        assert_eq!(parse_cpu_list("0-x"), None);
    }
}
