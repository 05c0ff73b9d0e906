//! Names of functions that look like one that is not there.
//!
//! A kernel has fifty thousand, and to compare two names takes thousands of instructions. So each gets a bound first:
//! how alike it could be at best, given which letters both have, in whatever order. They are compared from the best
//! bound down, until the next one cannot be among the best any more.

use super::function::Scope;
use super::raw::Kind;

/// How many names an error lists.
const LISTED: usize = 3;

/// Names that are less alike than this (Jaro-Winkler) help nobody.
const ALIKE: f64 = 0.8;

/// The functions of `scope` whose names are nearest to `name`, best first.
pub(super) fn functions(scope: Scope<'_>, name: &str) -> Vec<String> {
    let names = scope
        .own
        .types()
        .filter(|t| t.kind == Kind::Func)
        .filter_map(|t| scope.string(t.name_off()));
    nearest(name, names)
}

fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    let letters = Letters::of(name.as_bytes());
    let mut bounded: Vec<(f64, &[u8])> = candidates
        // Names of another length are not alike.
        .filter(|candidate| candidate.len().abs_diff(name.len()) <= name.len() / 3)
        .map(|candidate| (letters.bound(candidate), candidate))
        .filter(|(bound, _)| *bound > ALIKE)
        .collect();
    bounded.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    bounded.dedup();
    let mut best: Vec<(f64, &str)> = Vec::new();
    for (bound, candidate) in bounded {
        if best.len() == LISTED && best[LISTED - 1].0 > bound {
            break;
        }
        let Ok(candidate) = std::str::from_utf8(candidate) else {
            continue;
        };
        let score = strsim::jaro_winkler(name, candidate);
        if score > ALIKE {
            let before =
                |other: &(f64, &str)| other.0 > score || other.0 == score && other.1 < candidate;
            best.insert(best.partition_point(before), (score, candidate));
            best.truncate(LISTED);
        }
    }
    best.into_iter().map(|(_, name)| name.to_owned()).collect()
}

/// How often a name has each letter.
struct Letters<'a> {
    name: &'a [u8],
    counts: [u8; 256],
}

impl<'a> Letters<'a> {
    fn of(name: &'a [u8]) -> Self {
        let mut counts = [0u8; 256];
        for &letter in name {
            let count = &mut counts[usize::from(letter)];
            *count = count.saturating_add(1);
        }
        Self { name, counts }
    }

    /// No less than the Jaro-Winkler similarity of the two, if both are plain ASCII.
    ///
    /// Jaro's measure is the mean of three shares: the letters that match in one name, those in the other, and those
    /// of them that stand in the same order. Letters that match are at most those that both have; Winkler's part grows
    /// with the length of the common prefix, up to four.
    fn bound(&self, candidate: &[u8]) -> f64 {
        let mut left = self.counts;
        let mut common = 0u16;
        for &letter in candidate {
            let left = &mut left[usize::from(letter)];
            common += u16::from(*left > 0);
            *left = left.saturating_sub(1);
        }
        if common == 0 {
            return 0.0;
        }
        let share = |of: &[u8]| f64::from(common) / of.len() as f64;
        let jaro = (share(self.name) + share(candidate) + 1.0) / 3.0;
        let pairs = self.name.iter().zip(candidate).take(4);
        let prefix = pairs.take_while(|(a, b)| a == b).count();
        jaro + 0.1 * prefix as f64 * (1.0 - jaro)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 8] = [
        "filename_lookup",
        "filename_lookupat",
        "filename_unlink",
        "vfs_open",
        "vfs_path_lookup",
        "do_filename_lookup_of_another_kind",
        "kern_path",
        "pool_nameelfik",
    ];

    #[test]
    fn the_nearest_are_those_that_comparing_all_of_them_finds() {
        for name in [
            "filename_lookop",
            "vfs_opne",
            "x",
            "",
            "kern_paht",
            "nothing_like_it",
        ] {
            let mut all: Vec<(f64, &str)> = NAMES
                .into_iter()
                .filter(|c| c.len().abs_diff(name.len()) <= name.len() / 3)
                .map(|c| (strsim::jaro_winkler(name, c), c))
                .filter(|(score, _)| *score > ALIKE)
                .collect();
            all.sort_by(|a, b| b.0.total_cmp(&a.0));
            let all: Vec<&str> = all.into_iter().take(LISTED).map(|(_, c)| c).collect();
            assert_eq!(
                nearest(name, NAMES.iter().map(|c| c.as_bytes())),
                all,
                "{name}"
            );
        }
        assert_eq!(
            nearest("filename_lookop", NAMES.iter().map(|c| c.as_bytes()))[0],
            "filename_lookup"
        );
    }

    #[test]
    fn no_two_names_are_more_alike_than_their_bound() {
        for a in NAMES {
            for b in NAMES {
                let bound = Letters::of(a.as_bytes()).bound(b.as_bytes());
                let score = strsim::jaro_winkler(a, b);
                assert!(score <= bound + 1e-9, "{a} and {b}: {score} > {bound}");
            }
        }
    }
}
