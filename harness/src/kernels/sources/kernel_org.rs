//! Releases of kernel.org: for each major version a folder with tarballs and signed checksums.

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::kernels::cache::Cache;
use crate::kernels::download::http::Client;
use crate::kernels::download::mirrors::first_good;
use crate::kernels::source::{Artifact, is_sha256};
use crate::kernels::trust::keys::RemoteKey;
use crate::kernels::version;
use crate::support::error::usage;
use crate::support::progress::Notes;

/// The limit for the checksums of a major version, which has a few thousand releases.
const MAX_SUMS: u64 = 16 << 20;

/// The mirrors and the key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Releases {
    /// Base addresses, tried in this order.
    pub(crate) mirrors: Vec<String>,
    /// The key that signs the checksums.
    pub(crate) key: RemoteKey,
}

/// A release, and what verified it.
pub(crate) struct Release {
    pub(crate) artifact: Artifact,
    pub(crate) verified_by: String,
}

/// Finds the newest release of a series (`5.5`), or exactly one (`5.5.3`).
pub(crate) fn find(
    (cache, client, offline): (&Cache, &Client, bool),
    releases: &Releases,
    requested: &str,
    notes: &Notes<'_>,
) -> Result<Release> {
    let keyring = releases.key.get(cache, client, offline, notes)?;
    let major = requested.split('.').next().unwrap_or(requested);
    let folder = format!("v{major}.x");
    let what = "no mirror of kernel.org has the checksums";
    let signed = first_good(what, &releases.mirrors, notes, |base| {
        let url = format!("{base}/{folder}/sha256sums.asc");
        let sums = client.get(&url, MAX_SUMS, notes)?;
        keyring
            .verify_inline(&String::from_utf8_lossy(&sums))
            .context(url)
    })?;
    let Some((version, sha256)) = choose(&signed.text, requested) else {
        return Err(usage(format!(
            "kernel.org has released no Linux {requested}"
        )));
    };
    let name = format!("linux-{version}.tar.xz");
    Ok(Release {
        artifact: Artifact {
            version: match version.split('.').count() {
                2 => format!("{version}.0"),
                _ => version.to_owned(),
            },
            path: format!("{folder}/{name}"),
            package: name,
            size: None,
            sha256: sha256.to_ascii_lowercase(),
            url: None,
        },
        verified_by: format!(
            "OpenPGP key {}, sha256sums.asc of {folder}",
            signed.fingerprint.to_uppercase()
        ),
    })
}

/// Version and checksum of the newest release of a series, or of exactly the requested release.
fn choose<'a>(sums: &'a str, requested: &str) -> Option<(&'a str, &'a str)> {
    // The first release of a series has no patch level: 5.5.0 is linux-5.5.tar.xz.
    let exact = match requested.split('.').count() {
        2 => None,
        _ => Some(requested.strip_suffix(".0").unwrap_or(requested)),
    };
    let of_series = |version: &str| {
        let rest = version.strip_prefix(requested);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    sums.lines()
        .filter_map(release)
        .filter(|(version, _)| match exact {
            Some(exact) => *version == exact,
            None => of_series(version),
        })
        .max_by(|(a, _), (b, _)| version::compare(a, b))
}

/// Version and checksum from the line of a release.
fn release(line: &str) -> Option<(&str, &str)> {
    let (sha256, name) = line.trim().split_once(char::is_whitespace)?;
    let version = name
        .trim()
        .strip_prefix("linux-")?
        .strip_suffix(".tar.xz")?;
    let numeric = version.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    (numeric && is_sha256(sha256)).then_some((version, sha256))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(versions: &[&str]) -> String {
        let line = |version: &&str| format!("{}  linux-{version}.tar.xz\r\n", "ab".repeat(32));
        versions.iter().map(line).collect()
    }

    #[test]
    fn the_newest_of_a_series_or_exactly_one() {
        let sums = sums(&["5.5", "5.5.2", "5.5.19", "5.50.1", "5.15.3", "5.5.19-rc1"]);
        let chosen = |requested| choose(&sums, requested).map(|(version, _)| version);
        assert_eq!(chosen("5.5"), Some("5.5.19"));
        assert_eq!(chosen("5.5.2"), Some("5.5.2"));
        assert_eq!(chosen("5.5.0"), Some("5.5"));
        assert_eq!(chosen("5.15"), Some("5.15.3"));
        assert_eq!(chosen("5.5.3"), None);
        assert_eq!(chosen("5.1"), None);
    }

    #[test]
    fn other_files_are_skipped() {
        let sums = format!(
            "{0}  patch-5.5.tar.xz\n{0}  linux-5.5.tar.gz\nshort  linux-5.5.tar.xz\n",
            "ab".repeat(32)
        );
        assert_eq!(choose(&sums, "5.5"), None);
    }
}
