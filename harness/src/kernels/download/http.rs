//! Downloads with a size limit, verified while they are written, and retried after transient errors.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::tls::{RootCerts, TlsConfig};

use crate::support::hex::hex;
use crate::support::progress::{Notes, Progress};

/// The limit for a file of unknown size.
const MAX_FILE: u64 = 4 << 30;

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
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            stall: Duration::from_secs(30),
            total: Duration::from_secs(1800),
            attempts: 3,
            pause: Duration::from_millis(500),
        }
    }
}

/// Why a download failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// The server has no such file.
    #[error("{url}: not found")]
    NotFound {
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

/// The size and checksum that a file must have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected<'a> {
    /// In bytes, if known.
    pub(crate) size: Option<u64>,
    /// Lower-case hexadecimal.
    pub(crate) sha256: &'a str,
    /// The source of the checksum, for messages.
    pub(crate) according_to: &'a str,
}

/// An HTTP client that reuses its connections.
#[derive(Debug)]
pub(crate) struct Client {
    agent: ureq::Agent,
    patience: Patience,
}

/// A failed attempt, and whether a retry may succeed.
struct Attempt {
    error: HttpError,
    transient: bool,
}

impl Client {
    /// Certificates are checked against those of the system.
    pub(crate) fn new(patience: Patience) -> Self {
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .build();
        let config = ureq::Agent::config_builder()
            .tls_config(tls)
            .user_agent(concat!("fexit-harness/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(patience.stall))
            .timeout_recv_response(Some(patience.stall))
            .timeout_per_read(Some(patience.stall))
            .timeout_recv_body(Some(patience.total))
            .build();
        Self {
            agent: config.new_agent(),
            patience,
        }
    }

    /// A small file, of at most `limit` bytes.
    pub(crate) fn get(&self, url: &str, limit: u64) -> Result<Vec<u8>, HttpError> {
        let attempt = || {
            let mut bytes = Vec::new();
            self.body(url)?
                .0
                .take(limit + 1)
                .read_to_end(&mut bytes)
                .map_err(|e| broken(url, &e))?;
            if bytes.len() as u64 > limit {
                return Err(refused(url, format!("it is larger than {limit} bytes")));
            }
            Ok(bytes)
        };
        self.retry(attempt, |_| {})
    }

    /// A file of known checksum, written to `path`. After an error, `path` may hold a part of it.
    pub(crate) fn download(
        &self,
        url: &str,
        expected: Expected<'_>,
        path: &Path,
        notes: &Notes<'_>,
    ) -> Result<(), HttpError> {
        let what = url.rsplit('/').next().unwrap_or(url);
        let progress = notes.progress;
        let attempt = || {
            let (body, length) = self.body(url)?;
            progress.start(what, expected.size.or(length));
            let result = receive(url, body, expected, path, progress);
            progress.finish();
            result
        };
        self.retry(attempt, |error| notes.add(format!("tried again: {error}")))
    }

    /// The response, and its length according to the server.
    fn body(&self, url: &str) -> Result<(impl Read + use<>, Option<u64>), Attempt> {
        let response = self.agent.get(url).call().map_err(|error| match error {
            ureq::Error::StatusCode(404 | 410) => Attempt {
                error: HttpError::NotFound {
                    url: url.to_owned(),
                },
                transient: false,
            },
            ureq::Error::StatusCode(code) => failed(
                url,
                format!("the server answered with status {code}"),
                code == 429 || code >= 500,
            ),
            ureq::Error::BadUri(_) | ureq::Error::Tls(_) | ureq::Error::Rustls(_) => {
                failed(url, error.to_string(), false)
            }
            error => {
                let reason = error.to_string();
                // This error has no kind of its own. A retry does not help.
                let unknown_host = reason.contains("Name or service not known");
                failed(url, reason, !unknown_host)
            }
        })?;
        let body = response.into_body();
        let length = body.content_length();
        Ok((body.into_reader(), length))
    }

    /// Tries until it succeeds, the attempts are used up, or the error is not transient. Calls `again` with each error
    /// that is followed by a retry.
    fn retry<T>(
        &self,
        mut attempt: impl FnMut() -> Result<T, Attempt>,
        again: impl Fn(&HttpError),
    ) -> Result<T, HttpError> {
        let mut pause = self.patience.pause;
        let mut left = self.patience.attempts.max(1);
        loop {
            left -= 1;
            match attempt() {
                Ok(value) => return Ok(value),
                Err(failure) if left == 0 || !failure.transient => return Err(failure.error),
                Err(failure) => {
                    again(&failure.error);
                    sleep(pause);
                }
            }
            pause *= 2;
        }
    }
}

fn receive(
    url: &str,
    body: impl Read,
    expected: Expected<'_>,
    path: &Path,
    progress: &dyn Progress,
) -> Result<(), Attempt> {
    let disk = |source| Attempt {
        error: HttpError::Disk {
            path: path.display().to_string(),
            source,
        },
        transient: false,
    };
    let mut body = body.take(expected.size.unwrap_or(MAX_FILE) + 1);
    let mut file = File::create(path).map_err(disk)?;
    let mut hash = Sha256::new();
    let mut size = 0;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let n = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(broken(url, &e)),
        };
        hash.update(&buffer[..n]);
        file.write_all(&buffer[..n]).map_err(disk)?;
        size += n as u64;
        progress.advance(n as u64);
    }
    expected.check(url, size, &hex(&hash.finalize()))
}

impl Expected<'_> {
    fn check(&self, url: &str, size: u64, sha256: &str) -> Result<(), Attempt> {
        let Self {
            sha256: expected_hash,
            according_to,
            ..
        } = *self;
        let expected = self.size.unwrap_or(size.min(MAX_FILE));
        if size < expected {
            let reason = format!("it ended after {size} of {expected} bytes");
            return Err(failed(url, reason, true));
        }
        if size > expected {
            let reason =
                format!("it is larger than the {expected} bytes that {according_to} promises");
            return Err(refused(url, reason));
        }
        if sha256 != expected_hash {
            return Err(refused(
                url,
                format!("its SHA-256 is {sha256}, but {according_to} promises {expected_hash}"),
            ));
        }
        Ok(())
    }

    /// Checks bytes that are in memory already.
    pub(crate) fn check_bytes(&self, name: &str, bytes: &[u8]) -> Result<(), HttpError> {
        let sha256 = hex(&Sha256::digest(bytes));
        self.check(name, bytes.len() as u64, &sha256)
            .map_err(|attempt| attempt.error)
    }
}

fn failed(url: &str, reason: String, transient: bool) -> Attempt {
    Attempt {
        error: HttpError::Failed {
            url: url.to_owned(),
            reason,
        },
        transient,
    }
}

fn refused(url: &str, reason: String) -> Attempt {
    Attempt {
        error: HttpError::Refused {
            url: url.to_owned(),
            reason,
        },
        transient: false,
    }
}

fn broken(url: &str, error: &io::Error) -> Attempt {
    failed(url, format!("the transfer broke off: {error}"), true)
}
