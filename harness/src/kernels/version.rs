//! The order of Debian package versions, `[epoch:]upstream[-revision]` (Debian Policy 5.6.12).

use std::cmp::Ordering;

/// Compares two package versions the way `dpkg --compare-versions` does.
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (Parts::of(a), Parts::of(b));
    compare_numbers(a.epoch, b.epoch)
        .then_with(|| compare_part(a.upstream, b.upstream))
        .then_with(|| compare_part(a.revision, b.revision))
}

/// The upstream part: `7.3.4` of `7.3.4-1~bpo13+1`.
pub(crate) fn upstream(version: &str) -> &str {
    Parts::of(version).upstream
}

struct Parts<'a> {
    epoch: &'a str,
    upstream: &'a str,
    revision: &'a str,
}

impl<'a> Parts<'a> {
    fn of(version: &'a str) -> Self {
        let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
        // An absent revision is older than any, except "0", to which it is equal: so is "".
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        Self {
            epoch,
            upstream,
            revision,
        }
    }
}

/// Alternates between the longest prefix without digits and the longest prefix of digits.
fn compare_part(mut a: &str, mut b: &str) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let (text_a, rest_a) = split_at(a, |c| c.is_ascii_digit());
        let (text_b, rest_b) = split_at(b, |c| c.is_ascii_digit());
        let (number_a, rest_a) = split_at(rest_a, |c| !c.is_ascii_digit());
        let (number_b, rest_b) = split_at(rest_b, |c| !c.is_ascii_digit());
        let order = compare_text(text_a, text_b).then_with(|| compare_numbers(number_a, number_b));
        if order.is_ne() {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    Ordering::Equal
}

fn split_at(s: &str, end: impl Fn(char) -> bool) -> (&str, &str) {
    s.split_at(s.find(end).unwrap_or(s.len()))
}

/// Byte by byte: `~` before the end, the end before letters, letters before everything else.
fn compare_text(a: &str, b: &str) -> Ordering {
    let weight = |c: Option<&u8>| match c {
        Some(b'~') => -1,
        None => 0,
        Some(c) if c.is_ascii_alphabetic() => i32::from(*c),
        Some(c) => i32::from(*c) + 256,
    };
    (0..a.len().max(b.len()))
        .map(|i| weight(a.as_bytes().get(i)).cmp(&weight(b.as_bytes().get(i))))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Compares by value, for any number of digits. An empty string counts as zero.
fn compare_numbers(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_like_dpkg() {
        // Each list ascends strictly.
        let lists: &[&[&str]] = &[
            &["1.0~~", "1.0~~a", "1.0~", "1.0", "1.0a", "1.0+", "1.0."],
            &[
                "5.10.9-1",
                "5.10.10-1",
                "5.10.100-1",
                "5.10.262-1",
                "6.1.1-1",
            ],
            &[
                "7.3.4-1~bpo13+1",
                "7.3.4-1",
                "7.3.4-1+b1",
                "7.3.4-2",
                "7.3.4-10",
            ],
            &["6.12.115-1", "6.12.115-1.1", "6.12.116-1"],
            &["7.3~rc1-1", "7.3~rc2-1", "7.3-1", "7.3.1-1"],
            &["9:1", "10:0"],
            &["99", "1:0"],
            &["1.0-1", "1.0-1a", "1.0-1.1"],
            &["1", "1-1"],
            &["1a", "1b", "1ba"],
            &["1.2.3-9", "1.2.3-4-1"],
            &["99999999999999999999998", "99999999999999999999999"],
            &["6.12.115+deb13", "6.12.115+deb13.1", "6.12.116+deb13"],
            &["5.10.0-9", "5.10.0-46", "5.10.0-46a"],
        ];
        for list in lists {
            for pair in list.windows(2) {
                assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
                assert_eq!(compare(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
            }
        }
    }

    #[test]
    fn equal_versions() {
        for (a, b) in [
            ("1.0", "1.0"),
            ("0:1.0", "1.0"),
            ("1.0-0", "1.0"),
            ("1.0-", "1.0"),
            ("1.00", "1.0"),
            ("1.05", "1.5"),
            ("", ""),
            ("a0", "a"),
        ] {
            assert_eq!(compare(a, b), Ordering::Equal, "{a} {b}");
            assert_eq!(compare(b, a), Ordering::Equal, "{a} {b}");
        }
    }

    #[test]
    fn agrees_with_dpkg() {
        let versions = [
            "1.0", "1.0-1", "1.0~rc1", "1:0.1", "2.0a", "2.0+b", "2.0.", "0", "00", "1.0-0", "1~",
            "1",
        ];
        for a in versions {
            for b in versions {
                let dpkg = |op: &str| {
                    std::process::Command::new("dpkg")
                        .args(["--compare-versions", a, op, b])
                        .status()
                        .map(|status| status.success())
                };
                // Not on every machine that runs these tests.
                let Ok(less) = dpkg("lt") else { return };
                assert_eq!(less, compare(a, b).is_lt(), "{a} < {b}");
                assert_eq!(dpkg("eq").unwrap(), compare(a, b).is_eq(), "{a} = {b}");
            }
        }
    }

    #[test]
    fn takes_the_upstream_part() {
        assert_eq!(upstream("7.3.4-1~bpo13+1"), "7.3.4");
        assert_eq!(upstream("5.10.262-1"), "5.10.262");
        assert_eq!(upstream("2:1.0-beta-3"), "1.0-beta");
        assert_eq!(upstream("1.0"), "1.0");
    }
}
