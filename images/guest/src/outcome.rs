//! Turns the end of a scenario into the result that is reported.

use std::collections::BTreeMap;
use std::error::Error;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use fexit::programs::{LinkError, ProgramError};
use fexit::{MapError, Unsupported};
use guest::scenario::Skip;
use protocol::event::{Outcome, Refusal, ScenarioResult};
use serde_json::Value;

use crate::supervise::Ended;
use crate::text::bounded;

/// The longest error or splat in an event, in bytes.
const TEXT_LIMIT: usize = 16 << 10;
/// The most measurements in an event, in bytes of JSON.
const MEASUREMENTS_LIMIT: usize = 16 << 10;
/// How many of the last lines of output a failure shows.
const LINES: usize = 20;

/// The result of a scenario whose function returned.
pub(crate) fn judge(
    result: anyhow::Result<()>,
    measurements: BTreeMap<String, Value>,
    duration: Duration,
) -> ScenarioResult {
    let mut judged = result_of(Outcome::Passed, None, duration);
    judged.measurements = measurements;
    if let Err(error) = result {
        judged.error = Some(format!("{error:#}"));
        judged.refusal = refusal(&error);
        judged.outcome = if judged.refusal.is_some() {
            Outcome::Unsupported
        } else if error.chain().any(<dyn Error>::is::<Skip>) {
            Outcome::Skipped
        } else {
            Outcome::Failed
        };
    }
    judged
}

/// Whether a leak turns this result into a failure: the scenario passed, was refused, or was skipped.
pub(crate) fn is_clean(result: &anyhow::Result<()>) -> bool {
    let skipped = |error: &anyhow::Error| error.chain().any(<dyn Error>::is::<Skip>);
    let failure = result.as_ref().err();
    failure.is_none_or(|error| refusal(error).is_some() || skipped(error))
}

/// The library's refusal, anywhere in the chain of causes.
fn refusal(error: &anyhow::Error) -> Option<Refusal> {
    let unsupported = error.chain().find_map(|cause| {
        // The library's errors are transparent for a refusal, so that the chain does not contain the refusal itself.
        cause
            .downcast_ref::<Unsupported>()
            .or_else(|| cause.downcast_ref::<ProgramError>()?.unsupported())
            .or_else(|| cause.downcast_ref::<MapError>()?.unsupported())
            .or_else(|| cause.downcast_ref::<LinkError>()?.unsupported())
    })?;
    Some(Refusal {
        feature: unsupported.feature.name().to_owned(),
        minimum: unsupported.minimum.map(|minimum| minimum.to_string()),
    })
}

/// The result of a scenario whose process ended.
pub(crate) fn of(ended: &Ended, limit: Duration) -> ScenarioResult {
    let last_lines = ended.output.lines(LINES);
    let Some(status) = ended.status else {
        let error = with_lines(
            format!("still running at its time limit of {limit:?}"),
            &last_lines,
        );
        return result_of(Outcome::TimedOut, Some(error), ended.duration);
    };
    let report = serde_json::from_slice::<ScenarioResult>(&ended.report);
    match report {
        Ok(result) if status.success() => within_bounds(result, &last_lines),
        _ => failed(&with_lines(describe(status), &last_lines), ended.duration),
    }
}

fn within_bounds(mut result: ScenarioResult, last_lines: &str) -> ScenarioResult {
    if result.outcome == Outcome::Failed {
        let error = result.error.take().unwrap_or_default();
        result.error = Some(with_lines(bounded(&error, TEXT_LIMIT / 2), last_lines));
    }
    result.error = result.error.map(|error| bounded(&error, TEXT_LIMIT));
    let size = serde_json::to_vec(&result.measurements).map_or(usize::MAX, |json| json.len());
    if size > MEASUREMENTS_LIMIT {
        result.measurements.clear();
        return ScenarioResult {
            outcome: Outcome::Failed,
            error: Some(format!(
                "its measurements take {size} bytes, more than {MEASUREMENTS_LIMIT}"
            )),
            ..result
        };
    }
    result
}

/// The result of a scenario that did not report one.
pub(crate) fn failed(error: &str, duration: Duration) -> ScenarioResult {
    result_of(Outcome::Failed, Some(bounded(error, TEXT_LIMIT)), duration)
}

/// Adds a splat that the kernel logged while the scenario ran. It also turns a skipped scenario into `splat`.
pub(crate) fn note_splat(result: &mut ScenarioResult, splat: Option<String>) {
    let Some(splat) = splat else { return };
    if let Outcome::Passed | Outcome::Skipped = result.outcome {
        let line = splat.lines().next().unwrap_or_default();
        result.error = Some(format!("{}, but the kernel says: {line}", ended(result)));
        result.outcome = Outcome::Splat;
    }
    result.splat = Some(bounded(&splat, TEXT_LIMIT));
}

/// Fails a scenario during which the kernel's log could not be read.
pub(crate) fn note_unreadable_log(result: &mut ScenarioResult, why: &str) {
    if let Outcome::Passed | Outcome::Skipped | Outcome::Unsupported = result.outcome {
        let error = format!(
            "{}, but the kernel's log cannot be read, so a splat would go unseen: {why}",
            ended(result)
        );
        result.error = Some(bounded(&error, TEXT_LIMIT));
        result.outcome = Outcome::Failed;
    }
}

/// Fails a scenario of a parallel batch that leaked something: which scenario did is unknown.
pub(crate) fn note_leak(result: &mut ScenarioResult, left: &str) {
    let error = format!(
        "{}, but it or a scenario that ran in parallel {left}",
        ended(result)
    );
    result.error = Some(bounded(&error, TEXT_LIMIT));
    result.outcome = Outcome::Failed;
}

/// How the scenario itself ended.
fn ended(result: &ScenarioResult) -> String {
    match (result.outcome, &result.error) {
        (Outcome::Skipped, Some(why)) => format!("it skipped itself ({why})"),
        (Outcome::Unsupported, Some(why)) => format!("it was refused ({why})"),
        _ => "it passed".to_owned(),
    }
}

fn result_of(outcome: Outcome, error: Option<String>, duration: Duration) -> ScenarioResult {
    ScenarioResult {
        duration_us: u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
        ..ScenarioResult::new(outcome, error)
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("killed by signal {signal} before it returned a result"),
        (None, Some(code)) => format!("left with exit status {code} before it returned a result"),
        (None, None) => "ended before it returned a result".to_owned(),
    }
}

fn with_lines(what: String, last_lines: &str) -> String {
    if last_lines.is_empty() {
        what
    } else {
        format!("{what}; its last output:\n{last_lines}")
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};
    use guest::scenario::skip;

    use super::*;
    use crate::text::Tail;

    fn ended(status: Option<i32>, report: &[u8], output: &[u8]) -> Ended {
        let mut tail = Tail::new(1 << 20);
        tail.push(output);
        Ended {
            status: status.map(ExitStatus::from_raw),
            report: report.to_vec(),
            output: tail,
            duration: Duration::from_micros(1500),
        }
    }

    fn judged(result: anyhow::Result<()>) -> ScenarioResult {
        judge(result, BTreeMap::new(), Duration::from_micros(7))
    }

    #[test]
    fn error_is_a_failure_and_a_wrapped_skip_is_a_skip() {
        assert_eq!(
            judged(Ok(())),
            result_of(Outcome::Passed, None, Duration::from_micros(7))
        );
        let failure = judged(Err(anyhow!("cause")).context("what"));
        assert_eq!(
            (failure.outcome, failure.error.as_deref()),
            (Outcome::Failed, Some("what: cause"))
        );
        let skipped = judged(Err(skip("no module")).context("what"));
        assert_eq!((skipped.outcome, skipped.refusal), (Outcome::Skipped, None));
    }

    #[test]
    fn result_survives_serialization() {
        let mut result = judged(Ok(()));
        result.measurements.insert("calls".into(), 3.into());
        let report = serde_json::to_vec(&result).unwrap();
        assert_eq!(
            of(&ended(Some(0), &report, b"chatter\n"), Duration::ZERO),
            result
        );
    }

    #[test]
    fn failure_shows_the_last_lines() {
        let report = serde_json::to_vec(&judged(Err(anyhow!("cause")))).unwrap();
        let result = of(&ended(Some(0), &report, b"one\ntwo\n"), Duration::ZERO);
        assert_eq!(
            result.error.as_deref(),
            Some("cause; its last output:\none\ntwo")
        );
    }

    #[test]
    fn process_without_a_result_is_a_failure_with_its_status() {
        let limit = Duration::from_secs(2);
        let passed = serde_json::to_vec(&judged(Ok(()))).unwrap();
        for (ended, outcome, error) in [
            (
                ended(Some(9), b"", b""),
                Outcome::Failed,
                "killed by signal 9 before it returned a result",
            ),
            (
                ended(Some(101 << 8), b"", b"panicked at\nwhy\n"),
                Outcome::Failed,
                "left with exit status 101 before it returned a result; its last output:\npanicked at\nwhy",
            ),
            (
                ended(Some(0), b"{\"outc", b""),
                Outcome::Failed,
                "left with exit status 0 before it returned a result",
            ),
            // A result counts only if the process then ended well.
            (
                ended(Some(11), &passed, b""),
                Outcome::Failed,
                "killed by signal 11 before it returned a result",
            ),
            (
                ended(None, &passed, b"z\n"),
                Outcome::TimedOut,
                "still running at its time limit of 2s; its last output:\nz",
            ),
        ] {
            let result = of(&ended, limit);
            assert_eq!(
                (result.outcome, result.error.as_deref()),
                (outcome, Some(error))
            );
            assert_eq!(result.duration_us, 1500);
        }
    }

    #[test]
    fn splat_replaces_a_pass_and_is_added_to_a_failure() {
        let splat = || Some("WARNING: CPU: 0\nRIP".to_owned());
        let mut passed = judged(Ok(()));
        note_splat(&mut passed, None);
        assert_eq!(passed.outcome, Outcome::Passed);
        note_splat(&mut passed, splat());
        assert_eq!((passed.outcome, passed.splat), (Outcome::Splat, splat()));
        let mut failure = judged(Err(anyhow!("cause")));
        note_splat(&mut failure, splat());
        assert_eq!(
            (failure.outcome, failure.error.as_deref()),
            (Outcome::Failed, Some("cause"))
        );
        assert_eq!(failure.splat, splat());
    }

    #[test]
    fn splat_replaces_a_skip() {
        let mut skipped = judged(Err(skip("no module")));
        note_splat(&mut skipped, Some("WARNING: CPU: 0".into()));
        assert_eq!(skipped.outcome, Outcome::Splat);
        assert_eq!(
            skipped.error.as_deref(),
            Some("it skipped itself (no module), but the kernel says: WARNING: CPU: 0")
        );
    }

    #[test]
    fn unreadable_log_fails_a_scenario() {
        for (result, error) in [
            (Ok(()), "it passed, but the kernel's log cannot be read"),
            (
                Err(skip("no module")),
                "it skipped itself (no module), but the kernel's log",
            ),
            (Err(anyhow!("cause")), "cause"),
        ] {
            let mut result = judged(result);
            note_unreadable_log(&mut result, "it is gone");
            assert_eq!(result.outcome, Outcome::Failed);
            let said = result.error.unwrap_or_default();
            assert!(said.starts_with(error), "{said}");
        }
    }

    #[test]
    fn event_is_bounded() {
        let long = judged(Err(anyhow!("x".repeat(1 << 19))));
        let report = serde_json::to_vec(&long).unwrap();
        let result = of(
            &ended(Some(0), &report, &b"line\n".repeat(1 << 16)),
            Duration::ZERO,
        );
        assert!(serde_json::to_vec(&result).unwrap().len() < 20 << 10);
        let mut many = judged(Ok(()));
        many.measurements = (0..10_000).map(|n| (n.to_string(), n.into())).collect();
        let report = serde_json::to_vec(&many).unwrap();
        let result = of(&ended(Some(0), &report, b""), Duration::ZERO);
        assert_eq!(
            (result.outcome, result.measurements.len()),
            (Outcome::Failed, 0)
        );
    }
}
