//! The kernel's console: kept, bounded, and read for signs that something is wrong.

use std::collections::VecDeque;

use super::lines::Lines;
use super::splats::{self, CUT_HERE, END_OF_REPORT, Pattern, Severity};

/// The start of the console is kept up to this size, and the end up to [`TAIL`]; what lies between may go.
const HEAD: usize = 1 << 20;
const TAIL: usize = 3 << 20;

/// A line of the console is cut here.
const LINE: usize = 16 << 10;

/// At most this many lines of one report are kept, and at most this many reports.
const REPORT_LINES: usize = 80;
const REPORTS: usize = 50;

/// Something that the kernel complained about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splat {
    /// How bad it is.
    pub severity: Severity,
    /// What it says about the run.
    pub meaning: &'static str,
    /// The message that gave it away, without its time stamp.
    pub message: String,
    /// That line and what the kernel printed with it.
    pub lines: Vec<String>,
}

/// What came out of the console.
#[derive(Debug)]
pub struct Console {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    /// Bytes between the two that were let go.
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
    /// Takes the next bytes, reads them for splats, and gives each line that they complete.
    pub(super) fn push(&mut self, bytes: &[u8], mut each: impl FnMut(String)) {
        self.keep(bytes);
        let scan = &mut self.scan;
        self.lines.push(bytes, |line| {
            scan.line(&line.text);
            each(line.text);
        });
    }

    /// The console is closed: what came last may lack its line end.
    pub(super) fn finish(&mut self, each: impl FnOnce(String)) {
        if let Some(line) = self.lines.finish() {
            self.scan.line(&line.text);
            each(line.text);
        }
    }

    /// Everything that the kernel complained about, in order.
    pub fn splats(&self) -> &[Splat] {
        &self.scan.splats
    }

    /// The panic, if there was one.
    pub fn panic(&self) -> Option<&Splat> {
        self.splats()
            .iter()
            .find(|splat| splat.severity == Severity::Panic)
    }

    /// The last `count` lines.
    pub fn last_lines(&self, count: usize) -> Vec<String> {
        let text = self.text();
        let mut lines: Vec<_> = text.lines().rev().take(count).map(str::to_owned).collect();
        lines.reverse();
        lines
    }

    /// All that was kept; where something was let go, a line says how much.
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

/// Finds splats, line by line, as they come.
#[derive(Debug, Default)]
struct Scan {
    splats: Vec<Splat>,
    /// Whether the last of them still goes on.
    open: bool,
}

impl Scan {
    fn line(&mut self, line: &str) {
        let message = message(line);
        if message.starts_with(CUT_HERE) {
            self.open = false;
            return;
        }
        let open = if self.open {
            self.splats.last().map(|splat| splat.severity)
        } else {
            None
        };
        // What a report says besides its first line belongs to it, unless it is worse.
        let found = splats::find(message).filter(|pattern| Some(pattern.severity) > open);
        if let Some(pattern) = found {
            self.begin(pattern, message, line);
        } else if open.is_some() {
            self.go_on(message, line);
        }
    }

    fn begin(&mut self, pattern: &Pattern, message: &str, line: &str) {
        self.open = self.has_room_for(pattern.severity);
        if self.open {
            self.splats.push(Splat {
                severity: pattern.severity,
                meaning: pattern.meaning,
                message: message.to_owned(),
                lines: vec![line.to_owned()],
            });
        }
    }

    fn go_on(&mut self, message: &str, line: &str) {
        if let Some(splat) = self.splats.last_mut() {
            splat.lines.push(line.to_owned());
            self.open = splat.lines.len() < REPORT_LINES && !message.starts_with(END_OF_REPORT);
        }
    }

    /// The first panic is always recorded, whatever came before it.
    fn has_room_for(&self, severity: Severity) -> bool {
        let panicked = || {
            self.splats
                .iter()
                .any(|splat| splat.severity == Severity::Panic)
        };
        self.splats.len() < REPORTS || (severity == Severity::Panic && !panicked())
    }
}

/// A line without what printk puts in front: the time, and the caller where the kernel is built to say it.
///
/// What stands before the time is user space's, which left its own line open.
fn message(line: &str) -> &str {
    let mut message = line
        .match_indices('[')
        .find_map(|(start, _)| without_stamp(&line[start..]))
        .unwrap_or(line);
    while let Some(rest) = without_stamp(message) {
        message = rest;
    }
    message
}

/// What follows `[   12.345678] ` or `[ T42] `.
fn without_stamp(text: &str) -> Option<&str> {
    let (inside, rest) = text.strip_prefix('[')?.split_once("] ")?;
    let inside = inside.trim_ascii_start();
    let number = inside.strip_prefix(['T', 'C']).unwrap_or(inside);
    let digits = |c: char| c.is_ascii_digit() || c == '.';
    (!number.is_empty() && number.chars().all(digits)).then_some(rest)
}
