//! The kernel's console: kept up to a size, and scanned for splats.

use std::collections::VecDeque;

use protocol::splats::Severity;

use super::lines::Lines;
use super::scan::{Scan, Splat, Tally};

/// The start of the console is kept up to this size, and the end up to [`TAIL`].
const HEAD: usize = 1 << 20;
const TAIL: usize = 3 << 20;

/// The limit for a line of the console.
const LINE: usize = 16 << 10;

/// The output of the console.
#[derive(Debug)]
pub struct Console {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    /// Bytes between the two that were dropped.
    lost: u64,
    lines: Lines,
    scan: Scan,
}

impl Default for Console {
    fn default() -> Self {
        Self {
            head: Vec::new(),
            tail: VecDeque::new(),
            lost: 0,
            lines: Lines::new(LINE),
            scan: Scan::default(),
        }
    }
}

impl Console {
    /// Takes the next bytes, scans them for splats, and returns each complete line.
    pub(super) fn push(&mut self, bytes: &[u8], mut each: impl FnMut(String)) {
        self.keep(bytes);
        let scan = &mut self.scan;
        self.lines.push(bytes, |line| {
            scan.line(&line.text);
            each(line.text);
        });
    }

    /// Takes the last line, which may lack its line end.
    pub(super) fn finish(&mut self, each: impl FnOnce(String)) {
        if let Some(line) = self.lines.finish() {
            self.scan.line(&line.text);
            each(line.text);
        }
    }

    /// A console with this output.
    #[cfg(test)]
    pub(crate) fn of(text: &str) -> Self {
        let mut console = Self::default();
        console.push(text.as_bytes(), |_| {});
        console.finish(|_| {});
        console
    }

    /// The splats, in order.
    pub fn splats(&self) -> &[Splat] {
        &self.scan.splats
    }

    /// The panic, if there was one.
    pub fn panic(&self) -> Option<&Splat> {
        self.splats()
            .iter()
            .find(|splat| splat.severity == Severity::Panic)
    }

    /// The number of splats.
    pub(super) fn tally(&self) -> Tally {
        self.scan.tally
    }

    /// The report that came last, and the one of a stall that came last: their messages.
    pub(super) fn latest(&self) -> (&str, &str) {
        (&self.scan.latest, &self.scan.latest_stall)
    }

    /// The last `count` lines.
    pub fn last_lines(&self, count: usize) -> Vec<String> {
        let text = self.text();
        let mut lines: Vec<_> = text.lines().rev().take(count).map(str::to_owned).collect();
        lines.reverse();
        lines
    }

    /// The kept output; a line in it has the number of dropped bytes.
    pub fn text(&self) -> String {
        let mut bytes = self.head.clone();
        if self.lost > 0 {
            bytes.extend_from_slice(format!("\n[... {} bytes ...]\n", self.lost).as_bytes());
        }
        bytes.extend(&self.tail);
        String::from_utf8_lossy(&bytes).replace("\r\n", "\n")
    }

    fn keep(&mut self, bytes: &[u8]) {
        let (first, rest) = bytes.split_at(bytes.len().min(HEAD - self.head.len()));
        self.head.extend_from_slice(first);
        self.tail.extend(rest);
        let excess = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..excess);
        self.lost += excess as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_console_omits_the_middle_and_says_so() {
        let flood: String = (0..700_000).map(|n| format!("{n:06}\n")).collect();
        let console = Console::of(&flood);
        let text = console.text();
        assert!(text.starts_with("000000\n") && text.ends_with("699999\n"));
        let gap = format!("\n[... {} bytes ...]\n", flood.len() - HEAD - TAIL);
        assert!(text.contains(&gap));
        assert_eq!(text.len(), HEAD + TAIL + gap.len());
        assert_eq!(console.last_lines(2), ["699998", "699999"]);
        assert_eq!(Console::of("one\r\ntwo").last_lines(9), ["one", "two"]);
    }
}
