//! Chooses the next kernel to try, to find the oldest and the newest on which a program works with few boots.
//!
//! A program works from the kernel that has all of its requirements to the kernel that removes its target or a field that
//! it reads. Both ends are found by bisection, and each is confirmed by its neighbour.

/// The result of the program on one kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Not tried yet.
    Unknown,
    /// It works.
    Works,
    /// It does not work.
    Refused,
    /// The kernel cannot be downloaded or does not boot; the search ignores it.
    Unusable,
}

/// The search for one program, over kernels from the oldest to the newest.
#[derive(Clone, Debug)]
pub(super) struct Search {
    seen: Vec<Seen>,
    /// The first kernel that has all requirements of the object.
    hint: Option<usize>,
}

/// The result of a search.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The oldest and the newest kernel on which it works.
    pub(super) oldest: Option<usize>,
    pub(super) newest: Option<usize>,
    /// The neighbours beyond these, on which it does not work.
    pub(super) below: Option<usize>,
    pub(super) above: Option<usize>,
    /// Kernels between these on which it does not work.
    pub(super) exceptions: Vec<usize>,
}

impl Search {
    pub(super) fn new(kernels: usize, hint: Option<usize>) -> Self {
        Self {
            seen: vec![Seen::Unknown; kernels],
            hint,
        }
    }

    pub(super) fn set(&mut self, kernel: usize, seen: Seen) {
        if let Some(slot) = self.seen.get_mut(kernel) {
            *slot = seen;
        }
    }

    /// The kernel to try next; none when the search is finished.
    pub(super) fn next(&self) -> Option<usize> {
        let (Some(oldest), Some(newest)) = (self.first(Seen::Works), self.last(Seen::Works)) else {
            return self.anywhere();
        };
        self.towards_old(oldest)
            .or_else(|| self.towards_new(newest))
    }

    pub(super) fn found(&self) -> Found {
        let (Some(oldest), Some(newest)) = (self.first(Seen::Works), self.last(Seen::Works)) else {
            return Found::default();
        };
        let refused = |at: &usize| self.seen[*at] == Seen::Refused;
        Found {
            oldest: Some(oldest),
            newest: Some(newest),
            below: (0..oldest).rev().find(refused),
            above: (newest..self.seen.len()).find(refused),
            exceptions: (oldest..newest).filter(refused).collect(),
        }
    }

    fn first(&self, seen: Seen) -> Option<usize> {
        self.seen.iter().position(|s| *s == seen)
    }

    fn last(&self, seen: Seen) -> Option<usize> {
        self.seen.iter().rposition(|s| *s == seen)
    }

    /// Before it has worked on a kernel: the expected kernel, both ends, and then the middle of the largest gap.
    fn anywhere(&self) -> Option<usize> {
        let is_unknown = |at: &usize| self.seen.get(*at) == Some(&Seen::Unknown);
        // It is an end only if no kernel beyond it was refused.
        let newest = self.last(Seen::Unknown);
        let newest = newest.filter(|at| !self.seen[*at..].contains(&Seen::Refused));
        let oldest = self.first(Seen::Unknown);
        let oldest = oldest.filter(|at| !self.seen[..*at].contains(&Seen::Refused));
        self.hint
            .filter(is_unknown)
            .or(newest)
            .or(oldest)
            .or_else(|| self.largest_gap())
    }

    fn largest_gap(&self) -> Option<usize> {
        let mut best: Option<(usize, usize)> = None;
        let mut start = 0;
        for at in 0..=self.seen.len() {
            if self.seen.get(at) == Some(&Seen::Unknown) {
                continue;
            }
            let len = at - start;
            if len > best.map_or(0, |(_, len)| len) {
                best = Some((start, len));
            }
            start = at + 1;
        }
        best.map(|(start, len)| start + len / 2)
    }

    fn towards_old(&self, oldest: usize) -> Option<usize> {
        let refused = (0..oldest).rev().find(|at| self.seen[*at] == Seen::Refused);
        let open = self.unknown(refused.map_or(0, |at| at + 1), oldest);
        let hint = self.hint.filter(|hint| open.contains(hint));
        match refused {
            // First the expected oldest kernel, then its older neighbour.
            _ if hint.is_some() => hint,
            _ if self.hint == Some(oldest) => open.last().copied(),
            None => open.first().copied(),
            Some(_) => middle(&open),
        }
    }

    fn towards_new(&self, newest: usize) -> Option<usize> {
        let end = self.seen.len();
        let refused = (newest..end).find(|at| self.seen[*at] == Seen::Refused);
        let open = self.unknown(newest + 1, refused.unwrap_or(end));
        match refused {
            None => open.last().copied(),
            Some(_) => middle(&open),
        }
    }

    fn unknown(&self, from: usize, to: usize) -> Vec<usize> {
        (from..to)
            .filter(|at| self.seen[*at] == Seen::Unknown)
            .collect()
    }
}

fn middle(open: &[usize]) -> Option<usize> {
    open.get(open.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches where the program works on the kernels for which `works` says so; how many were tried.
    fn search(
        kernels: usize,
        hint: Option<usize>,
        works: impl Fn(usize) -> Seen,
    ) -> (Found, usize) {
        let mut search = Search::new(kernels, hint);
        let mut tried = 0;
        while let Some(at) = search.next() {
            assert_eq!(search.seen[at], Seen::Unknown, "{at} is tried twice");
            search.set(at, works(at));
            tried += 1;
        }
        (search.found(), tried)
    }

    fn interval(range: std::ops::Range<usize>) -> impl Fn(usize) -> Seen {
        move |at| {
            if range.contains(&at) {
                Seen::Works
            } else {
                Seen::Refused
            }
        }
    }

    #[test]
    fn every_interval_is_found_with_both_boundaries() {
        for kernels in 1..13 {
            for from in 0..kernels {
                for to in from + 1..=kernels {
                    for hint in [None, Some(0), Some(kernels / 2), Some(kernels - 1)] {
                        let (found, tried) = search(kernels, hint, interval(from..to));
                        let expected = Found {
                            oldest: Some(from),
                            newest: Some(to - 1),
                            below: from.checked_sub(1),
                            above: (to < kernels).then_some(to),
                            exceptions: Vec::new(),
                        };
                        assert_eq!(found, expected, "{from}..{to} of {kernels}, {hint:?}");
                        assert!(tried <= kernels);
                    }
                }
            }
        }
    }

    #[test]
    fn search_takes_few_boots() {
        // It is as the object says: the kernel itself, the one before, the newest.
        assert_eq!(search(40, Some(7), interval(7..40)).1, 3);
        assert_eq!(search(40, Some(0), interval(0..40)).1, 2);
        // Also when other programs had other kernels booted before.
        let mut shared = Search::new(40, Some(7));
        shared.set(0, Seen::Refused);
        shared.set(39, Seen::Works);
        assert_eq!(shared.next(), Some(7));
        shared.set(7, Seen::Works);
        assert_eq!(shared.next(), Some(6));
        shared.set(6, Seen::Refused);
        assert_eq!(shared.next(), None);
        // The object knows nothing of it.
        assert!(search(40, Some(0), interval(23..40)).1 <= 8);
        assert!(search(40, Some(0), interval(0..31)).1 <= 8);
        assert!(search(40, None, interval(11..29)).1 <= 14);
    }

    #[test]
    fn program_that_never_works_is_tried_on_every_kernel() {
        assert_eq!(
            search(11, Some(3), |_| Seen::Refused),
            (Found::default(), 11)
        );
        assert_eq!(search(0, None, |_| Seen::Refused), (Found::default(), 0));
    }

    #[test]
    fn kernels_that_do_not_boot_are_ignored() {
        let works = |at| match at {
            3 | 4 | 9 => Seen::Unusable,
            0..5 => Seen::Refused,
            _ => Seen::Works,
        };
        let (found, _) = search(10, Some(4), works);
        assert_eq!((found.oldest, found.newest), (Some(5), Some(8)));
        assert_eq!((found.below, found.above), (Some(2), None));
    }

    #[test]
    fn exception_inside_an_interval_is_reported() {
        let mut search = Search::new(5, None);
        for (at, seen) in [(1, Seen::Works), (2, Seen::Refused), (4, Seen::Works)] {
            search.set(at, seen);
        }
        assert_eq!(search.found().exceptions, [2]);
    }
}
