//! GitHub Actions: annotations on the run's page, and the job's summary.

use std::{
    env, fs,
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::{Context as _, Result};

use super::{
    markdown,
    model::{KernelReport, Report},
    verdict::KernelVerdict,
};
use crate::support::error::usage;

/// The file that GitHub shows as the job's summary.
pub fn summary_path() -> Result<PathBuf> {
    env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()).map(PathBuf::from).ok_or_else(
        || usage("--summary requires GITHUB_STEP_SUMMARY, which GitHub Actions sets; use --markdown FILE elsewhere"),
    )
}

/// Appends the Markdown page to the job's summary.
pub fn append_summary(report: &Report, path: &PathBuf) -> Result<()> {
    fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(markdown::page(report).as_bytes()))
        .with_context(|| format!("cannot append to the job's summary {}", path.display()))
}

/// In a job of GitHub Actions, prints an annotation for everything that is not ok.
pub fn annotate(kernels: &[KernelReport]) {
    if env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true") {
        for line in annotations(kernels) {
            let _ = writeln!(io::stderr(), "{line}");
        }
    }
}

/// One workflow command for each result that is not ok, and for each kernel with an error.
fn annotations(kernels: &[KernelReport]) -> Vec<String> {
    let mut lines = Vec::new();
    for kernel in kernels {
        lines.extend(kernel.not_ok().map(|result| {
            let title = format!("{} on {}", result.name(), kernel.title());
            let message = format!("{}: {}", result.outcome, result.error());
            command("error", &title, &message)
        }));
        lines.extend(kernel.flaky().map(|result| {
            let title = format!("{} on {}", result.name(), kernel.title());
            command("warning", &title, "flaky: it passed after it had failed")
        }));
        if let Some(error) = &kernel.error {
            let level = match kernel.verdict {
                KernelVerdict::Infra => "warning",
                KernelVerdict::Ok | KernelVerdict::NotOk => "error",
            };
            lines.push(command(level, &kernel.title(), error));
        }
    }
    lines
}

/// A workflow command; characters that would end it or its title early are percent-encoded.
fn command(level: &str, title: &str, message: &str) -> String {
    let data = |text: &str| {
        text.replace('%', "%25")
            .replace('\r', "%0D")
            .replace('\n', "%0A")
    };
    let title = data(title).replace(':', "%3A").replace(',', "%2C");
    format!("::{level} title={title}::{}", data(message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{broken_kernel, kernel, scenario};
    use protocol::event::Outcome;

    #[test]
    fn one_annotation_per_problem_and_none_for_ok() {
        let scenarios = vec![
            scenario("attach", "fexit", "5.5", "5.10.1", Outcome::Passed),
            scenario("detach", "fexit", "5.5", "5.10.1", Outcome::TimedOut),
        ];
        let report = Report::new(vec![
            kernel("5.10.1", scenarios),
            broken_kernel("a:b,c", "100%\nlost"),
        ]);
        assert_eq!(
            annotations(&report.kernels),
            [
                "::error title=detach on 5.10.1 (5.10.1-test)::timed-out: why <it> did%0Anot pass",
                "::warning title=a%3Ab%2Cc::100%25%0Alost",
            ]
        );
    }

    #[test]
    fn job_summary_is_appended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("summary.md");
        fs::write(&path, "before\n").unwrap();
        let report = Report::new(vec![broken_kernel("9.9", "x")]);
        append_summary(&report, &path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("before\n{}", markdown::page(&report)));
    }
}
