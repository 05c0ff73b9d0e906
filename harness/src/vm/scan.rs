//! Scans the console for splats: panics, oopses, warnings and stalls.

use protocol::splats::{self, CUT_HERE, END_OF_REPORT, Pattern, Severity};

/// The kept number of lines of a report, and of reports.
const REPORT_LINES: usize = 80;
const REPORTS: usize = 50;

/// The number of lines of a report before the line with its kind.
const REPORT_HEAD: usize = 5;

/// A splat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splat {
    /// Its severity.
    pub severity: Severity,
    /// Its meaning for the run.
    pub meaning: &'static str,
    /// Its message, without time stamp.
    pub message: String,
    /// Its lines.
    pub lines: Vec<String>,
    /// The number of its line on the console, from 0.
    pub at: usize,
}

/// The number of reports, also of those that are not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Reports of any kind.
    pub(super) reports: usize,
    /// Lines that report a stall, also within another report.
    pub(super) stalls: usize,
}

/// Finds splats, line by line.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) splats: Vec<Splat>,
    pub(super) tally: Tally,
    /// The message of the latest report, and of the latest stall.
    pub(super) latest: String,
    pub(super) latest_stall: String,
    /// Lines so far.
    lines: usize,
    /// Whether the last report continues.
    open: bool,
    /// The first lines of a report, before the line with its kind.
    nameless: Option<Vec<String>>,
}

impl Scan {
    /// Takes the next line.
    pub(super) fn line(&mut self, line: &str) {
        let message = message(line);
        self.lines += 1;
        if message.starts_with(CUT_HERE) {
            (self.open, self.nameless) = (false, Some(Vec::new()));
            return;
        }
        let open = if self.open {
            self.splats.last().map(|splat| splat.severity)
        } else {
            None
        };
        // A pattern within a report belongs to it, unless its severity is higher.
        let found = splats::find(message);
        if found.is_some_and(|pattern| pattern.severity == Severity::Stall) {
            self.tally.stalls += 1;
            message.clone_into(&mut self.latest_stall);
        }
        let found = found.filter(|pattern| Some(pattern.severity) > open);
        if let Some(pattern) = found {
            self.begin(pattern, message, line);
        } else if open.is_some() {
            self.go_on(message, line);
        } else if let Some(lines) = &mut self.nameless {
            // Up to 6.18 the text of a WARN() precedes the line that begins with WARNING.
            lines.push(line.to_owned());
            self.nameless.take_if(|lines| lines.len() > REPORT_HEAD);
        }
    }

    fn begin(&mut self, pattern: &Pattern, message: &str, line: &str) {
        self.tally.reports += 1;
        message.clone_into(&mut self.latest);
        self.open = self.has_room_for(pattern.severity);
        let mut lines = self.nameless.take().unwrap_or_default();
        if self.open {
            lines.push(line.to_owned());
            self.splats.push(Splat {
                severity: pattern.severity,
                meaning: pattern.meaning,
                message: message.to_owned(),
                lines,
                at: self.lines - 1,
            });
        }
    }

    fn go_on(&mut self, message: &str, line: &str) {
        if let Some(splat) = self.splats.last_mut() {
            splat.lines.push(line.to_owned());
            self.open = splat.lines.len() < REPORT_LINES && !message.starts_with(END_OF_REPORT);
        }
    }

    /// Records a report. The first panic is recorded also beyond the limit.
    fn has_room_for(&self, severity: Severity) -> bool {
        let panicked = || {
            self.splats
                .iter()
                .any(|splat| splat.severity == Severity::Panic)
        };
        self.splats.len() < REPORTS || (severity == Severity::Panic && !panicked())
    }
}

/// A line without the prefix of printk: the time, and the caller if the kernel is configured to print it.
///
/// Text before the time is an unfinished line of user space.
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

/// The text after `[   12.345678] ` or `[ T42] `.
fn without_stamp(text: &str) -> Option<&str> {
    let (inside, rest) = text.strip_prefix('[')?.split_once("] ")?;
    let inside = inside.trim_ascii_start();
    let number = inside.strip_prefix(['T', 'C']).unwrap_or(inside);
    let digits = |c: char| c.is_ascii_digit() || c == '.';
    (!number.is_empty() && number.chars().all(digits)).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::super::console::Console;
    use super::*;

    /// Severity, message and number of lines of each splat.
    fn splats(console: &Console) -> Vec<(Severity, &str, usize)> {
        let splats = console.splats().iter();
        splats
            .map(|splat| (splat.severity, splat.message.as_str(), splat.lines.len()))
            .collect()
    }

    macro_rules! console {
        ($name:literal) => {
            Console::of(include_str!(concat!(
                "../../tests/consoles/",
                $name,
                ".log"
            )))
        };
    }

    #[test]
    fn warning_is_one_splat_and_keeps_its_text() {
        let console = console!("5.10-warn");
        let message = "WARNING: CPU: 0 PID: 1 at /build/splat.c:9 splat_init+0x30/0x1000 [splat]";
        let [splat] = console.splats() else {
            panic!("{:?}", console.splats())
        };
        assert_eq!(
            (splat.severity, splat.message.as_str()),
            (Severity::Warning, message)
        );
        assert!(splat.lines[0].ends_with("splat: a test of WARN"));
        assert!(splat.lines.last().unwrap().contains("---[ end trace"));
        assert_eq!(console.panic(), None);
    }

    #[test]
    fn oops_with_several_matching_lines_is_one_splat() {
        let null = console!("5.10-oops");
        let [splat] = null.splats() else {
            panic!("{:?}", null.splats())
        };
        assert_eq!(splat.severity, Severity::Oops);
        assert_eq!(
            splat.message,
            "BUG: kernel NULL pointer dereference, address: 0000000000000000"
        );
        assert!(
            splat
                .lines
                .iter()
                .any(|line| line.contains("Oops: 0002 [#1]"))
        );

        let bug = console!("6.1-bug");
        let [splat] = bug.splats() else {
            panic!("{:?}", bug.splats())
        };
        assert_eq!(splat.message, "kernel BUG at /build/splat.c:7!");
    }

    #[test]
    fn oops_that_ends_in_a_panic_is_two_splats() {
        let console = console!("6.1-oops-in-init");
        let [oops, panic] = console.splats() else {
            panic!("{:?}", console.splats())
        };
        assert_eq!(
            (oops.severity, panic.severity),
            (Severity::Oops, Severity::Panic)
        );
        assert!(
            oops.message
                .starts_with("general protection fault, probably for non-canonical")
        );
        assert_eq!(console.panic(), Some(panic));
        assert!(
            panic
                .message
                .ends_with("Attempted to kill init! exitcode=0x0000000b")
        );
    }

    #[test]
    fn panic_is_one_splat_with_its_trace() {
        let console = console!("6.1-panic");
        let [panic] = console.splats() else {
            panic!("{:?}", console.splats())
        };
        assert_eq!(
            panic.message,
            "Kernel panic - not syncing: sysrq triggered crash"
        );
        assert!(
            panic
                .lines
                .iter()
                .any(|line| line.contains("__handle_sysrq")),
            "{panic:?}"
        );
    }

    #[test]
    fn two_warnings_in_a_row_are_two_even_if_the_first_has_no_end() {
        let twice = "[ 1.0] ------------[ cut here ]------------\n[ 1.0] WARNING: one\n".repeat(2);
        let console = Console::of(&twice);
        let expected = (Severity::Warning, "WARNING: one", 1);
        assert_eq!(splats(&console), [expected, expected]);
    }

    #[test]
    fn console_prefixes_are_ignored() {
        for line in [
            "WARNING: x",
            "[    1.5] WARNING: x",
            "[12345.123456] WARNING: x\r",
            "[    1.5][   T42] WARNING: x",
            "[    1.5] [ C1] WARNING: x",
            "prompt> [    1.5] WARNING: x",
        ] {
            assert_eq!(
                splats(&Console::of(line)),
                [(Severity::Warning, "WARNING: x", 1)],
                "{line}"
            );
        }
    }

    #[test]
    fn ordinary_boot_messages_are_no_splat() {
        let boot = "[    0.6] acpi PNP0A03:00: fail to add MMCONFIG information\n\
                    [    0.0] Spectre V2 : WARNING: Unprivileged eBPF is enabled\n\
                    [    1.0] traps: init[1] trap invalid opcode ip:55 sp:7f error:0 in init[55+3]\n\
                    [    1.0] traps: init[1] general protection fault ip:55 sp:7f error:0 in init\n\
                    [    1.0] tsc: Refined TSC clocksource calibration: 2599.975 MHz\n\
                    [    1.0] [drm] no BUG: here\n";
        assert_eq!(splats(&Console::of(boot)), []);
    }

    #[test]
    fn many_splats_are_bounded_and_the_panic_is_kept() {
        let mut flood = "------------[ cut here ]------------\nWARNING: x\n".repeat(10_000);
        flood.push_str("Kernel panic - not syncing: at last\n");
        flood.push_str(&"Kernel panic - not syncing: a copy\n".repeat(10_000));
        let console = Console::of(&flood);
        assert_eq!(console.splats().len(), REPORTS + 1);
        assert!(console.panic().unwrap().message.ends_with("at last"));
        assert_eq!(console.panic().unwrap().lines.len(), REPORT_LINES);
    }
}
