//! One attempt of a request, and what its failure means.

use std::fmt;
use std::io;
use std::time::{Duration, SystemTime};

use ureq::http::Response;
use ureq::typestate::WithoutBody;
use ureq::{Body, RequestBuilder, ResponseExt as _};

/// The status of a response that asks for a token.
pub(super) const UNAUTHORIZED: u16 = 401;

/// A request of a file.
pub(super) type Request = RequestBuilder<WithoutBody>;

/// Why a download failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// The server has no such file.
    #[error("{url}: not found")]
    NotFound {
        /// The URL.
        url: String,
    },
    /// The server does not give it. Stores of files, as that of Amazon Linux, answer so for a file that they do not have.
    #[error(
        "{url}: the server answered with status 403: it requires a login, or has nothing of this name"
    )]
    Forbidden {
        /// The URL.
        url: String,
    },
    /// The server or the network failed.
    #[error("{url}: {reason}")]
    Failed {
        /// The URL.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// The response has the wrong size or checksum.
    #[error("{url}: {reason}: refused")]
    Refused {
        /// The URL.
        url: String,
        /// What differs.
        reason: String,
    },
    /// The file could not be written.
    #[error("cannot write {path}")]
    Disk {
        /// The file.
        path: String,
        /// The error of the system.
        source: io::Error,
    },
}

/// A failed attempt, and whether a retry may succeed.
pub(super) struct Attempt {
    pub(super) error: HttpError,
    pub(super) retry: Retry,
}

/// Whether a retry may succeed.
pub(super) enum Retry {
    No,
    /// After the pause of [`Patience`].
    Soon,
    /// The server says when.
    After(Limit),
}

/// A server that refuses a request for now, and says for how long.
pub(super) struct Limit {
    pub(super) host: String,
    /// 429 or 503.
    pub(super) status: u16,
    pub(super) wait: Duration,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, status, wait } = self;
        let does = match status {
            429 => "limits requests",
            _ => "is unavailable",
        };
        let wait = wait.as_secs();
        write!(
            f,
            "{host} {does} (status {status}) and asks to wait {wait} s"
        )
    }
}

/// Sends a request, also of a token.
pub(super) fn call(url: &str, request: Request) -> Result<Response<Body>, Attempt> {
    request.call().map_err(|error| {
        let reason = error.to_string();
        // This error has no kind of its own.
        let unknown_host = reason.contains("Name or service not known");
        let useless = matches!(
            error,
            ureq::Error::BadUri(_)
                | ureq::Error::Tls(_)
                | ureq::Error::Rustls(_)
                | ureq::Error::RequireHttpsOnly(_)
        );
        let retry = match useless || unknown_host {
            true => Retry::No,
            false => Retry::Soon,
        };
        failed(url, reason, retry)
    })
}

/// The error of a response that is not the requested file.
pub(super) fn unsuccessful(url: &str, response: &Response<Body>) -> Attempt {
    let status = response.status().as_u16();
    let absent = |error: fn(String) -> HttpError| Attempt {
        error: error(url.to_owned()),
        retry: Retry::No,
    };
    match status {
        404 | 410 => return absent(|url| HttpError::NotFound { url }),
        403 => return absent(|url| HttpError::Forbidden { url }),
        _ => {}
    }
    let retry = match status {
        429 | 503 => match limit(url, response) {
            Some(limit) => Retry::After(limit),
            None => Retry::Soon,
        },
        500.. => Retry::Soon,
        _ => Retry::No,
    };
    let meaning = match status {
        401 => ": it requires a login, or has nothing of this name",
        429 => ": it limits requests, and does not say for how long",
        _ => "",
    };
    let reason = format!("the server answered with status {status}{meaning}");
    failed(url, reason, retry)
}

/// How long the server asks to wait.
fn limit(url: &str, response: &Response<Body>) -> Option<Limit> {
    let after = response.headers().get("retry-after")?.to_str().ok()?;
    let host = response.get_uri().host().unwrap_or(url);
    Some(Limit {
        host: host.to_owned(),
        status: response.status().as_u16(),
        wait: wait(after, SystemTime::now())?,
    })
}

pub(super) fn failed(url: &str, reason: String, retry: Retry) -> Attempt {
    Attempt {
        error: HttpError::Failed {
            url: url.to_owned(),
            reason,
        },
        retry,
    }
}

pub(super) fn refused(url: &str, reason: String) -> Attempt {
    Attempt {
        error: HttpError::Refused {
            url: url.to_owned(),
            reason,
        },
        retry: Retry::No,
    }
}

pub(super) fn broken(url: &str, error: &io::Error) -> Attempt {
    failed(url, format!("the transfer broke off: {error}"), Retry::Soon)
}

/// The wait that a `Retry-After` asks for: seconds or a date. None if it is neither.
fn wait(retry_after: &str, now: SystemTime) -> Option<Duration> {
    let text = retry_after.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    Some(until.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 29 Nov 2026 07:00:00 GMT").unwrap();
        let seconds = |text| wait(text, now).map(|wait| wait.as_secs());
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds(" 0 "), Some(0));
        assert_eq!(seconds("Sun, 29 Nov 2026 07:01:30 GMT"), Some(90));
        assert_eq!(seconds("Sun, 29 Nov 2026 06:00:00 GMT"), Some(0));
        for invalid in ["", "-1", "soon", "1.5"] {
            assert_eq!(seconds(invalid), None, "{invalid}");
        }
    }
}
