//! The report as JUnit XML: a suite for each kernel, a case for each scenario and program.

use std::time::Duration;

use anyhow::{Context as _, Result};
use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestRerun, TestSuite};

use super::{
    model::{KernelReport, Report, ResultSummary},
    verdict::ScenarioVerdict,
};

/// The case of the kernel itself, so that the suite of a kernel that did not boot has an error.
const KERNEL_CASE: &str = "kernel";

/// Renders the report.
pub fn xml(report: &Report) -> Result<String> {
    let mut junit = quick_junit::Report::new("harness");
    junit.add_test_suites(report.kernels.iter().map(suite));
    junit
        .to_string()
        .context("cannot write the report as JUnit XML")
}

fn suite(kernel: &KernelReport) -> TestSuite {
    let mut suite = TestSuite::new(kernel.title());
    if let Some(ms) = kernel.phases_ms.total {
        suite.set_time(Duration::from_millis(ms));
    }
    suite.add_test_case(kernel_case(kernel));
    for s in &kernel.scenarios {
        suite.add_test_case(case(kernel, &s.into(), s.splat.as_deref(), s.duration_us));
    }
    for program in &kernel.programs {
        let result = &program.result;
        let details = result.log.as_deref().or(result.splat.as_deref());
        suite.add_test_case(case(kernel, &program.into(), details, result.duration_us));
    }
    suite
}

fn kernel_case(kernel: &KernelReport) -> TestCase {
    let status = match &kernel.error {
        None => TestCaseStatus::success(),
        Some(error) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status
                .set_type(kernel.verdict.to_string())
                .set_message(error);
            status
        }
    };
    let mut case = TestCase::new(KERNEL_CASE, status);
    case.set_classname(&kernel.requested);
    let mut lines = kernel.console_tail.clone();
    lines.extend(other_results(kernel, None));
    set_output(&mut case, &lines);
    case
}

fn case(
    kernel: &KernelReport,
    result: &ResultSummary,
    details: Option<&str>,
    duration_us: Option<u64>,
) -> TestCase {
    let mut status = match result.verdict {
        ScenarioVerdict::Ok => TestCaseStatus::success(),
        ScenarioVerdict::Unknown => TestCaseStatus::skipped(),
        ScenarioVerdict::NotOk => TestCaseStatus::non_success(NonSuccessKind::Failure),
    };
    if result.verdict != ScenarioVerdict::Ok {
        status
            .set_type(&*result.outcome)
            .set_message(result.error());
    }
    if let Some(details) = details {
        status.set_description(details);
    }
    if result.verdict != ScenarioVerdict::Unknown {
        for earlier in kernel.tries_of(result.name()) {
            let mut rerun = TestRerun::new(NonSuccessKind::Failure);
            rerun
                .set_type(&*earlier.outcome)
                .set_message(earlier.error());
            status.add_rerun(rerun);
        }
    }
    let mut case = TestCase::new(result.name(), status);
    case.set_classname(&kernel.requested);
    if let Some(us) = duration_us {
        case.set_time(Duration::from_micros(us));
    }
    set_output(&mut case, &other_results(kernel, result.id.as_deref()));
    case
}

/// The results of other reports, in a merged one, that differ from the one that counts. No id means the kernel
/// itself.
fn other_results(kernel: &KernelReport, id: Option<&str>) -> Vec<String> {
    let others = kernel.contradicting_results();
    let others = others.filter(|other| other.id.as_deref() == id);
    let line = |other: &ResultSummary| {
        let error = other.error.as_ref().map(|error| format!(" ({error})"));
        let error = error.unwrap_or_default();
        format!("another report has {}{error}", other.outcome)
    };
    others.map(line).collect()
}

fn set_output(case: &mut TestCase, lines: &[String]) {
    if !lines.is_empty() {
        case.set_system_out(lines.join("\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing;
    use protocol::event::Outcome;

    #[test]
    fn junit_element_matches_verdict_and_text_is_escaped() {
        let version = "5.10.1";
        let scenarios = [
            ("attach", Outcome::Passed),
            ("detach", Outcome::Failed),
            ("unload", Outcome::Skipped),
        ];
        let scenarios = scenarios
            .map(|(id, outcome)| testing::scenario(id, "fexit", "5.5", version, outcome))
            .to_vec();
        let mut tried = testing::kernel(version, scenarios);
        let attach = ResultSummary {
            outcome: "failed".to_owned(),
            ..ResultSummary::from(&tried.scenarios[0])
        };
        tried.earlier_tries = vec![attach];
        let report = Report::new(vec![tried, testing::broken_kernel("9.9", "no such kernel")]);
        let parsed = quick_junit::Report::deserialize_from_str(&xml(&report).unwrap()).unwrap();

        let counts: Vec<_> = parsed
            .test_suites
            .iter()
            .map(|suite| (suite.tests, suite.failures, suite.errors, suite.skipped))
            .collect();
        assert_eq!(counts, [(4, 1, 0, 1), (1, 0, 1, 0)]);
        let TestCaseStatus::NonSuccess { message, .. } =
            &parsed.test_suites[0].test_cases[2].status
        else {
            panic!("detach is not a failure");
        };
        assert!(message.as_ref().unwrap().as_str().contains("why <it> did"));
        let TestCaseStatus::Success { flaky_runs } = &parsed.test_suites[0].test_cases[1].status
        else {
            panic!("attach is not a success");
        };
        assert_eq!(flaky_runs[0].ty.as_ref().unwrap().as_str(), "failed");
    }
}
