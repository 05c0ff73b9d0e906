//! Time limits on the command line.

use std::time::Duration;

const DAY_S: u64 = 24 * 60 * 60;

/// Reads a whole number of seconds, from one to a day.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(0) => Err("at least 1 second".to_owned()),
        Ok(seconds) if seconds <= DAY_S => Ok(Duration::from_secs(seconds)),
        Ok(_) => Err(format!("at most {DAY_S}, a day")),
        Err(_) => Err("not a whole number of seconds".to_owned()),
    }
}
