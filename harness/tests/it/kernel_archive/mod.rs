//! Resolving, fetching and caching kernels, against a signed archive on a local server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests are to panic"
)]

mod archive;
mod build;
mod build_job;
mod build_own;
mod cache;
mod fallback;
mod network;
pub(crate) mod oci;
mod rpm;
pub(crate) mod server;
mod snapshot;
mod suites;
mod tampering;
mod ubuntu;
mod url;

use anyhow::Result;
use harness::{
    kernels::{Kernel, Kernels},
    support::progress::Silent,
};

/// Resolves and fetches one `--kernel`.
fn get(kernels: &Kernels, request: &str) -> Result<Kernel> {
    kernels.fetch(&kernels.resolve(request, &Silent)?, &Silent)
}

/// The full message of an infrastructure error.
fn infra(kernels: &Kernels, request: &str) -> String {
    let error = get(kernels, request).unwrap_err();
    assert_eq!(harness::support::error::exit_code(&error), 3, "{error:#}");
    format!("{error:#}")
}

#[track_caller]
fn assert_contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{text:?} should say {part:?}");
    }
}
