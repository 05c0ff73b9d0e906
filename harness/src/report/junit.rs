//! The report as JUnit XML: a kernel is a suite, a scenario is a case.

use std::time::Duration;

use anyhow::{Context as _, Result};
use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::{
    KernelReport, ProgramReport, Report, ScenarioReport, ScenarioVerdict, verdict::outcome_name,
};

/// The test case for the kernel itself, so that one that never booted is not a suite without errors.
const KERNEL_CASE: &str = "kernel";

/// Renders the report.
pub fn xml(report: &Report) -> Result<String> {
    let mut junit = quick_junit::Report::new("harness");
    junit.add_test_suites(report.kernels.iter().map(suite));
    junit.to_string().context("the report has no JUnit form")
}

fn suite(kernel: &KernelReport) -> TestSuite {
    let mut suite = TestSuite::new(kernel.title());
    if let Some(ms) = kernel.phases_ms.total {
        suite.set_time(Duration::from_millis(ms));
    }
    suite.add_test_case(kernel_case(kernel));
    suite.add_test_cases(
        kernel
            .scenarios
            .iter()
            .map(|scenario| case(kernel, scenario)),
    );
    suite.add_test_cases(
        kernel
            .programs
            .iter()
            .map(|program| program_case(kernel, program)),
    );
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
    say(&mut case, &lines);
    case
}

/// What other reports of a merged one have for this scenario or program, or for the kernel as a whole.
fn other_results(kernel: &KernelReport, id: Option<&str>) -> Vec<String> {
    kernel
        .contradicting_results()
        .filter(|other| other.id.as_deref() == id)
        .map(|other| {
            let error = other.error.iter().map(|error| format!(" ({error})"));
            let error: String = error.collect();
            format!("another report has {}{error}", other.outcome)
        })
        .collect()
}

fn say(case: &mut TestCase, lines: &[String]) {
    if !lines.is_empty() {
        case.set_system_out(lines.join("\n"));
    }
}

fn case(kernel: &KernelReport, scenario: &ScenarioReport) -> TestCase {
    let why = scenario.error.as_deref().unwrap_or_default();
    let mut status = match scenario.verdict {
        ScenarioVerdict::Ok => TestCaseStatus::success(),
        ScenarioVerdict::Unknown => TestCaseStatus::skipped(),
        ScenarioVerdict::NotOk => TestCaseStatus::non_success(NonSuccessKind::Failure),
    };
    if scenario.verdict != ScenarioVerdict::Ok {
        status
            .set_type(outcome_name(scenario.outcome))
            .set_message(why);
    }
    if let Some(splat) = &scenario.splat {
        status.set_description(splat);
    }
    let mut case = TestCase::new(&scenario.id, status);
    case.set_classname(&kernel.requested);
    if let Some(us) = scenario.duration_us {
        case.set_time(Duration::from_micros(us));
    }
    say(&mut case, &other_results(kernel, Some(&scenario.id)));
    case
}

fn program_case(kernel: &KernelReport, program: &ProgramReport) -> TestCase {
    let mut status = match program.verdict {
        ScenarioVerdict::Ok => TestCaseStatus::success(),
        ScenarioVerdict::Unknown => TestCaseStatus::skipped(),
        ScenarioVerdict::NotOk => TestCaseStatus::non_success(NonSuccessKind::Failure),
    };
    if program.verdict != ScenarioVerdict::Ok {
        status
            .set_type(program.result.outcome.name())
            .set_message(program.why().unwrap_or_default());
    }
    if let Some(log) = program
        .result
        .log
        .as_ref()
        .or(program.result.splat.as_ref())
    {
        status.set_description(log);
    }
    let mut case = TestCase::new(program.id(), status);
    case.set_classname(&kernel.requested);
    if let Some(us) = program.result.duration_us {
        case.set_time(Duration::from_micros(us));
    }
    say(&mut case, &other_results(kernel, Some(&program.id())));
    case
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
        let report = Report::new(vec![
            testing::kernel(version, scenarios),
            testing::broken_kernel("9.9", "no such kernel"),
        ]);
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
    }
}
