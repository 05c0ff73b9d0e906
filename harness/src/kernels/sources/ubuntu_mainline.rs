//! Ubuntu's builds of upstream releases: for each version a folder with packages and signed checksums.
//!
//! The list of versions is a directory listing without a signature. A forged list can hide a version, but not present one
//! as another, because the signature covers the names of the packages.

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::kernels::download::attempt::HttpError;
use crate::kernels::download::http::Client;
use crate::kernels::source::{Artifact, is_sha256};
use crate::kernels::sources::packages::{Packages, abi};
use crate::kernels::trust::keys::RemoteKey;
use crate::kernels::trust::openpgp::Keyring;
use crate::kernels::version;
use crate::support::progress::Notes;

const MAX_LISTING: u64 = 16 << 20;

/// Some builds fail and leave a folder without packages; so many newest versions are looked at.
const TRIES: usize = 5;

/// Where such builds are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Builds {
    /// Base addresses, tried in this order.
    pub(crate) mirrors: Vec<String>,
    /// The key that signs the checksums.
    pub(crate) key: RemoteKey,
}

/// A build, and what verified it.
pub(crate) struct Build {
    pub(crate) version: String,
    pub(crate) artifacts: Vec<Artifact>,
    pub(crate) verified_by: String,
}

/// Looks for builds at one address.
pub(crate) struct Finder<'a> {
    pub(crate) client: &'a Client,
    pub(crate) base: &'a str,
    pub(crate) architecture: &'a str,
    pub(crate) packages: &'a Packages,
    pub(crate) keyring: &'a Keyring,
    pub(crate) notes: &'a Notes<'a>,
}

impl Finder<'_> {
    /// The build of exactly this version.
    pub(crate) fn exact(&self, version: &str) -> Result<Option<Build>> {
        // The folder of 5.15.0 is called v5.15.
        self.build(
            version
                .strip_suffix(".0")
                .filter(|rest| rest.contains('.'))
                .unwrap_or(version),
        )
    }

    /// The newest version of a series that has been built.
    pub(crate) fn newest(&self, series: &str) -> Result<Option<Build>> {
        let bytes = self
            .client
            .get(&format!("{}/", self.base), MAX_LISTING, self.notes)?;
        for version in versions(&String::from_utf8_lossy(&bytes), series)
            .iter()
            .take(TRIES)
        {
            if let Some(build) = self.build(version)? {
                return Ok(Some(build));
            }
        }
        Ok(None)
    }

    /// A build; `None` if the archive has none, or if the build failed.
    fn build(&self, version: &str) -> Result<Option<Build>> {
        let folder = format!("v{version}/{}", self.architecture);
        let url = format!("{}/{folder}/CHECKSUMS", self.base);
        let sums = match self.client.get(&url, MAX_LISTING, self.notes) {
            Err(HttpError::NotFound { .. }) => return Ok(None),
            other => other?,
        };
        let signature = self
            .client
            .get(&format!("{url}.gpg"), MAX_LISTING, self.notes)?;
        let fingerprint = self
            .keyring
            .verify_detached(&sums, &String::from_utf8_lossy(&signature))
            .with_context(|| url.clone())?;
        let artifacts = self.artifacts(&folder, version, &String::from_utf8_lossy(&sums));
        if artifacts.len() < self.packages.required.len() {
            return Ok(None);
        }
        Ok(Some(Build {
            version: full(version),
            artifacts,
            verified_by: format!(
                "OpenPGP key {}, CHECKSUMS of v{version}",
                fingerprint.to_uppercase()
            ),
        }))
    }

    /// The packages of the kernel in this order, without those that are missing.
    fn artifacts(&self, folder: &str, version: &str, sums: &str) -> Vec<Artifact> {
        let prefix = format!("{}-", full(version));
        let suffix = format!("_{}.deb", self.architecture);
        let files: Vec<_> = sums
            .lines()
            .filter_map(|line| file(line, &suffix))
            .collect();
        let find = |pattern: &String| {
            files
                .iter()
                .find(|file| abi(pattern, file.package).is_some_and(|abi| abi.starts_with(&prefix)))
        };
        let patterns = self.packages.required.iter().chain(&self.packages.optional);
        let artifact = |file: &File<'_>| Artifact {
            package: file.package.to_owned(),
            version: file.version.to_owned(),
            path: format!("{folder}/{}", file.name),
            size: None,
            sha256: file.sha256.to_ascii_lowercase(),
            url: None,
        };
        patterns.filter_map(find).map(artifact).collect()
    }
}

/// A line of `CHECKSUMS`.
struct File<'a> {
    name: &'a str,
    package: &'a str,
    version: &'a str,
    sha256: &'a str,
}

/// The file also contains SHA-1 checksums, which are shorter.
fn file<'a>(line: &'a str, suffix: &str) -> Option<File<'a>> {
    let (sha256, name) = line.split_once(char::is_whitespace)?;
    let name = name.trim().trim_start_matches('*');
    let name = name.rsplit('/').next().unwrap_or(name);
    let (package, version) = name.strip_suffix(suffix)?.split_once('_')?;
    is_sha256(sha256).then_some(File {
        name,
        package,
        version,
        sha256,
    })
}

/// The released versions of a series that a directory listing shows, the newest first.
fn versions(listing: &str, series: &str) -> Vec<String> {
    let mut found: Vec<_> = listing
        .split("href=\"")
        .filter_map(|rest| rest.split_once('"')?.0.strip_prefix('v')?.strip_suffix('/'))
        .filter(|name| name.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
        .filter(|name| {
            name.strip_prefix(series)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
        .map(str::to_owned)
        .collect();
    found.sort_by(|a, b| version::compare(b, a));
    found.dedup();
    found
}

/// `5.15.0` for `5.15`.
fn full(version: &str) -> String {
    if version.split('.').count() == 2 {
        format!("{version}.0")
    } else {
        version.to_owned()
    }
}
