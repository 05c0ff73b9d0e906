//! Downloads with a size limit, verified while they are written, and retried after transient errors.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};
use ureq::BodyReader;
use ureq::config::RedirectAuthHeaders;
use ureq::tls::{RootCerts, TlsConfig};

use super::attempt::{
    Attempt, HttpError, Request, Retry, UNAUTHORIZED, broken, call, failed, refused, unsuccessful,
};
use super::retry::Patience;
use super::token::{Challenge, Tokens};
use crate::support::hex::hex;
use crate::support::progress::{Notes, Progress};

/// The limit for a file of unknown size.
const MAX_FILE: u64 = 4 << 30;

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
    tokens: Tokens,
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
            // The headers of the response say what to do.
            .http_status_as_error(false)
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .build();
        Self {
            agent: config.new_agent(),
            patience,
            tokens: Tokens::default(),
        }
    }

    /// A small file, of at most `limit` bytes.
    pub(crate) fn get(
        &self,
        url: &str,
        limit: u64,
        notes: &Notes<'_>,
    ) -> Result<Vec<u8>, HttpError> {
        self.small(url, limit, notes, || self.agent.get(url))
    }

    /// A document of one of the types `accept`, which nothing but TLS verifies: a redirection from HTTPS to plain HTTP is
    /// refused.
    pub(crate) fn get_as(
        &self,
        url: &str,
        limit: u64,
        accept: &str,
        notes: &Notes<'_>,
    ) -> Result<Vec<u8>, HttpError> {
        let tls = url.starts_with("https://");
        self.small(url, limit, notes, || {
            let request = self.agent.get(url).header("accept", accept);
            request.config().https_only(tls).build()
        })
    }

    fn small(
        &self,
        url: &str,
        limit: u64,
        notes: &Notes<'_>,
        request: impl Fn() -> Request,
    ) -> Result<Vec<u8>, HttpError> {
        let attempt = || {
            let mut bytes = Vec::new();
            self.body(url, &request)?
                .0
                .take(limit + 1)
                .read_to_end(&mut bytes)
                .map_err(|e| broken(url, &e))?;
            if bytes.len() as u64 > limit {
                return Err(refused(url, format!("it is larger than {limit} bytes")));
            }
            Ok(bytes)
        };
        self.patience.retry(url, notes, attempt, |_| {})
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
            let (body, length) = self.body(url, || self.agent.get(url))?;
            progress.start(what, expected.size.or(length));
            let result = receive(url, body, expected, path, progress);
            progress.finish();
            result
        };
        let again = |error: &HttpError| notes.add(format!("tried again: {error}"));
        self.patience.retry(url, notes, attempt, again)
    }

    /// The response, and its length according to the server.
    fn body(
        &self,
        url: &str,
        request: impl Fn() -> Request,
    ) -> Result<(BodyReader<'static>, Option<u64>), Attempt> {
        let mut response = call(url, request())?;
        if let Some(challenge) = Challenge::of(&response) {
            let again = |token: String| {
                let authorization = format!("Bearer {token}");
                call(url, request().header("authorization", authorization))
            };
            if let Some(token) = self.tokens.known(&challenge) {
                response = again(token)?;
            }
            // There was none, or it has expired.
            if response.status() == UNAUTHORIZED {
                response = again(self.tokens.get(&self.agent, url, challenge)?)?;
            }
        }
        if !response.status().is_success() {
            return Err(unsuccessful(url, &response));
        }
        let body = response.into_body();
        let length = body.content_length();
        Ok((body.into_reader(), length))
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
        retry: Retry::No,
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
            return Err(failed(url, reason, Retry::Soon));
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
