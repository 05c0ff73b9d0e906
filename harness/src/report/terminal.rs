//! Progress and results on stderr: live lines on a terminal, plain lines elsewhere.

use std::{
    fmt::Display,
    io::{IsTerminal as _, Write as _, stderr},
    time::Duration,
};

use anstream::{AutoStream, ColorChoice};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::{
    report::{
        model::{ResultSummary, ScenarioReport},
        program::ProgramReport,
        text::Text,
        verdict::ScenarioVerdict,
    },
    support::progress::Progress,
    support::sanitize::one_line,
};

/// The width of the column for a kernel's name.
pub(crate) const NAME_WIDTH: usize = 8;

/// The lines of an error that are shown, and the characters of each line.
const ERROR_LINES: usize = 24;
const LINE_WIDTH: usize = 200;

/// How often a live line is redrawn.
const TICK: Duration = Duration::from_millis(120);

/// Shows the progress of all kernels of a run.
#[derive(Clone, Debug)]
pub struct Board {
    live: Option<MultiProgress>,
    colored: bool,
    verbose: bool,
}

impl Board {
    /// Live if stderr is a terminal. Coloured if that terminal shows colours, unless `--color` or `NO_COLOR` decides.
    pub fn new(verbose: bool) -> Self {
        Self {
            colored: AutoStream::choice(&stderr()) != ColorChoice::Never,
            live: stderr().is_terminal().then(MultiProgress::new),
            verbose,
        }
    }

    /// The line of one kernel.
    pub fn line(&self, kernel: &str) -> Line {
        let bar = match &self.live {
            Some(live) => live.add(ProgressBar::new_spinner()),
            None => ProgressBar::hidden(),
        };
        bar.set_prefix(kernel.to_owned());
        bar.set_style(style(SPINNER));
        bar.enable_steady_tick(TICK);
        Line {
            board: self.clone(),
            kernel: kernel.to_owned(),
            bar,
        }
    }

    /// Prints one line, above the live lines.
    pub fn say(&self, line: impl Display) {
        self.show(&line.to_string().into());
    }

    /// Prints a text, above the live lines.
    pub fn show(&self, text: &Text) {
        let line = match self.colored {
            true => text.colored(),
            false => text.to_string(),
        };
        // An error means that stderr is closed: there is no other place to report it.
        let _ = match &self.live {
            Some(live) => live.println(line),
            None => writeln!(stderr(), "{line}"),
        };
    }
}

/// The first lines of a text, each shortened. The report has the full text.
pub(crate) fn excerpt(text: &str, count: usize) -> Vec<String> {
    let shortened = |line: &str| match line.char_indices().nth(LINE_WIDTH) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line.to_owned(),
    };
    let mut lines: Vec<_> = text.trim_end().lines().take(count).map(shortened).collect();
    let left = text.trim_end().lines().count().saturating_sub(lines.len());
    if left > 0 && count > 1 {
        lines.push(format!("... {left} more lines in the report"));
    }
    lines
}

/// One kernel's line on the board. Dropping it removes the line.
#[derive(Debug)]
pub struct Line {
    board: Board,
    kernel: String,
    bar: ProgressBar,
}

impl Line {
    /// Shows the current phase.
    pub fn phase(&self, phase: &str) {
        self.bar.set_message(phase.to_owned());
    }

    /// Shows which scenario runs.
    pub fn scenario(&self, id: &str, number: usize, of: usize) {
        self.bar
            .set_message(format!("{number}/{of} {}", one_line(id)));
    }

    /// Prints the result of a scenario.
    pub fn finished(&self, scenario: &ScenarioReport) {
        let time = scenario
            .duration_us
            .map_or_else(String::new, |us| format!("{:.1} ms", us as f64 / 1000.0));
        let error = scenario.error.as_deref();
        let error = error.filter(|_| scenario.verdict != ScenarioVerdict::Ok);
        let result = ResultSummary::from(scenario);
        self.result(&result, &scenario.id, &format!("  {time:>10}"), error);
    }

    /// Prints the result of a program.
    pub fn program_finished(&self, program: &ProgramReport) {
        let result = &program.result;
        let mut details = String::new();
        if let Some(count) = result.run_count {
            details.push_str(&format!("  fired {count} times"));
            if let Some(mean) = result.mean_ns {
                details.push_str(&format!(", {mean} ns each"));
            }
        }
        if let Some(trigger) = result.trigger.as_ref().filter(|trigger| !trigger.ok) {
            details.push_str(&format!("; the command: {}", one_line(&trigger.ended)));
        }
        let name = program.name();
        self.result(&program.into(), &one_line(&name), &details, program.why());
    }

    fn result(&self, result: &ResultSummary, name: &str, details: &str, error: Option<&str>) {
        let mut line = Text::from(format!("{:<NAME_WIDTH$}  ", self.kernel));
        line.push_styled(
            result.verdict.style(),
            format_args!("{:<7}", result.verdict),
        );
        line.push(format_args!(
            "  {name:<32}  {:<11}{details}",
            result.outcome
        ));
        for part in excerpt(error.unwrap_or_default(), ERROR_LINES) {
            line.push(format_args!("\n    {part}"));
        }
        self.board.show(&line);
    }

    /// Prints a message.
    pub fn note(&self, message: &str) {
        self.board
            .say(format_args!("{:<NAME_WIDTH$}  {message}", self.kernel));
    }

    /// Removes the line: from now on a program may use the terminal.
    pub fn hide(&self) {
        self.bar.finish_and_clear();
    }

    /// Prints a message of `--verbose`.
    pub fn detail(&self, message: &str) {
        if self.board.verbose {
            self.note(message);
        }
    }
}

impl Progress for Line {
    fn start(&self, what: &str, total: Option<u64>) {
        if self.board.live.is_none() {
            let size = total.map_or_else(String::new, |total| {
                format!(" ({:.1} MB)", total as f64 / 1e6)
            });
            self.note(&format!("downloading {what}{size}"));
        }
        self.bar.set_message(format!("downloading {what}"));
        self.bar.set_length(total.unwrap_or(0));
        self.bar.set_position(0);
        self.bar
            .set_style(style(if total.is_some() { DOWNLOAD } else { STREAM }));
    }

    fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    fn finish(&self) {
        self.bar.set_style(style(SPINNER));
        self.bar.set_message("");
    }

    fn step(&self, what: &str) {
        self.phase(what);
    }

    fn note(&self, message: &str) {
        Self::note(self, message);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.hide();
    }
}

const SPINNER: &str = "{prefix:<8}  {spinner} {wide_msg} {elapsed:>4}";
const DOWNLOAD: &str =
    "{prefix:<8}  {msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta:>4}";
const STREAM: &str = "{prefix:<8}  {spinner} {msg} {bytes} {bytes_per_sec}";

fn style(template: &str) -> ProgressStyle {
    // A test parses the templates.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpt_says_what_it_omits_and_cuts_at_character_boundaries() {
        assert_eq!(excerpt("one\ntwo\n", 2), ["one", "two"]);
        assert_eq!(
            excerpt("one\ntwo\nthree", 2),
            ["one", "two", "... 1 more lines in the report"]
        );
        assert_eq!(excerpt("one\ntwo", 1), ["one"]);
        assert_eq!(excerpt("", 2), [""; 0]);
        let long = "ä".repeat(LINE_WIDTH + 1);
        assert_eq!(
            excerpt(&long, 2),
            [format!("{}...", "ä".repeat(LINE_WIDTH))]
        );
    }

    #[test]
    fn progress_bar_templates_parse() {
        for template in [SPINNER, DOWNLOAD, STREAM] {
            ProgressStyle::with_template(template).unwrap();
        }
    }
}
