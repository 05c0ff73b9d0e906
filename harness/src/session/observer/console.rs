//! What the console printed, for the report.

use std::collections::HashSet;

use crate::{
    report::{KernelReport, KernelVerdict, ScenarioVerdict, observed::ending::ConsoleExcerpt},
    vm::{Console, Severity, Splat},
};

/// The last lines of the console that an error has in it.
const LAST_LINES: usize = 10;

/// The splats of a result are truncated to this many bytes.
const MAX_SPLATS: usize = 16 << 10;

/// The splats since that line, each once, and the last lines.
pub(super) fn excerpt(console: &Console, since: usize) -> ConsoleExcerpt {
    let mut seen = HashSet::new();
    let new = console.splats().iter();
    let new = new.filter(|splat| splat.at >= since && seen.insert(&splat.message));
    let mut splats = String::new();
    for line in new.flat_map(|splat| &splat.lines) {
        if splats.len() + line.len() < MAX_SPLATS {
            splats.push_str(line);
            splats.push('\n');
        }
    }
    ConsoleExcerpt {
        splats: (!splats.is_empty()).then(|| splats.trim_end().to_owned()),
        tail: console.last_lines(LAST_LINES),
    }
}

/// Reports the splats that no result has in it. Each comes with whether the kernel printed it at boot.
pub(super) fn report_splats(splats: &[(Splat, bool)], report: &mut KernelReport) {
    for (splat, at_boot) in splats {
        let scenarios = report.scenarios.iter().map(|s| (s.verdict, &s.splat));
        let programs = report.programs.iter().map(|p| (p.verdict, &p.result.splat));
        let is_explained = scenarios.chain(programs).any(|(verdict, text)| {
            let text = text.as_deref().unwrap_or_default();
            verdict == ScenarioVerdict::NotOk && text.contains(&splat.message)
        });
        if is_explained || splat.severity == Severity::Panic {
            continue;
        }
        let when = if *at_boot { " at boot" } else { "" };
        let message = format!("{}{when}: {}", splat.meaning, splat.message);
        match splat.severity {
            Severity::Stall => report.warnings.push(message),
            // At boot fexit has done nothing yet.
            Severity::Warning if *at_boot => report.warnings.push(message),
            _ => kernel_error(report, &message),
        }
    }
}

/// The kernel itself is not ok.
pub(super) fn kernel_error(report: &mut KernelReport, error: &str) {
    report.verdict = KernelVerdict::NotOk;
    report.error.get_or_insert_with(|| error.to_owned());
}
