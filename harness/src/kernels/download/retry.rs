//! Repeats a request after a transient error, and waits as long as a server asks, within a limit.

use std::thread::sleep;
use std::time::Duration;

use super::attempt::{Attempt, HttpError, Limit, Retry};
use crate::support::progress::Notes;

/// Time limits and retries.
#[derive(Clone, Debug)]
pub struct Patience {
    /// Limit for a connection, and for the next bytes of a response.
    pub stall: Duration,
    /// Limit for one whole response.
    pub total: Duration,
    /// The number of attempts, at least one.
    pub attempts: u32,
    /// The wait before the second attempt; doubled before each further one.
    pub pause: Duration,
    /// Limit for the waits that a server asks for with `Retry-After`, for one request with its retries.
    pub retry_after: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            stall: Duration::from_secs(30),
            total: Duration::from_secs(1800),
            attempts: 3,
            pause: Duration::from_millis(500),
            retry_after: Duration::from_secs(120),
        }
    }
}

impl Patience {
    /// Tries until it succeeds, the attempts are used up, or a retry is useless. Calls `again` with each transient error
    /// that is followed by a retry. Adds a note before a wait that the server asks for.
    pub(super) fn retry<T>(
        &self,
        url: &str,
        notes: &Notes<'_>,
        mut attempt: impl FnMut() -> Result<T, Attempt>,
        again: impl Fn(&HttpError),
    ) -> Result<T, HttpError> {
        let mut pause = self.pause;
        let mut left = self.attempts.max(1);
        let mut waited = Duration::ZERO;
        loop {
            left -= 1;
            let Attempt { error, retry } = match attempt() {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            match retry {
                Retry::Soon if left > 0 => {
                    again(&error);
                    sleep(pause);
                    pause *= 2;
                }
                Retry::After(limit) => {
                    let all = waited.saturating_add(limit.wait);
                    if left == 0 || all > self.retry_after {
                        return Err(self.limited(url, &limit, waited));
                    }
                    notes.add(format!("{limit}: waiting"));
                    sleep(limit.wait);
                    waited = all;
                }
                Retry::Soon | Retry::No => return Err(error),
            }
        }
    }

    /// The error after the last attempt, or before a wait that is too long.
    fn limited(&self, url: &str, limit: &Limit, waited: Duration) -> HttpError {
        let waits = match waited.as_secs() {
            0 => format!("; this waits at most {} s", self.retry_after.as_secs()),
            waited => format!(" again, after a wait of {waited} s"),
        };
        HttpError::Failed {
            url: url.to_owned(),
            reason: format!("{limit}{waits}: try again later"),
        }
    }
}
