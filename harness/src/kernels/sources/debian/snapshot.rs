//! Debian's snapshot archive: all earlier packages of an archive, with their signed indices.
//!
//! It finds files by name and version, and serves them by their SHA-1. That is only an address: the checksum of a file
//! comes from the lock, or from the signed index of its time.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::kernels::download::attempt::HttpError;
use crate::kernels::download::http::Client;
use crate::kernels::sources::packages::{Packages, abi};
use crate::kernels::version;
use crate::support::progress::Notes;

const MAX_ANSWER: u64 = 64 << 20;

/// The snapshots of an archive.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SnapshotOf {
    /// The URL of the service.
    pub(crate) base: String,
    /// Its name for the archive, as `debian-security`.
    pub(crate) archive: String,
    /// The source package of kernels; `{arch}` in it is the architecture.
    pub(crate) package: String,
}

/// A client of the service.
pub(crate) struct Snapshot<'a> {
    pub(crate) of: &'a SnapshotOf,
    pub(crate) client: &'a Client,
    pub(crate) architecture: &'a str,
    pub(crate) notes: &'a Notes<'a>,
}

/// A file of the service.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its URL.
    pub(crate) url: String,
    /// When the archive first had it, as `20261115T223000Z`.
    pub(crate) first_seen: Option<String>,
}

#[derive(Deserialize)]
struct Answer<T> {
    result: Vec<T>,
}

#[derive(Deserialize)]
struct SourceVersion {
    version: String,
}

#[derive(Deserialize)]
struct Binary {
    name: String,
    version: String,
}

#[derive(Deserialize)]
struct BinaryFiles {
    result: Vec<BinaryFile>,
    #[serde(default)]
    fileinfo: HashMap<String, Vec<FileInfo>>,
}

#[derive(Deserialize)]
struct BinaryFile {
    architecture: String,
    hash: String,
}

#[derive(Deserialize)]
struct FileInfo {
    archive_name: String,
    first_seen: String,
}

impl Snapshot<'_> {
    fn base(&self) -> &str {
        self.of.base.trim_end_matches('/')
    }

    fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let url = format!("{}/mr/{path}", self.base());
        let bytes = self.client.get(&url, MAX_ANSWER, self.notes)?;
        serde_json::from_slice(&bytes)
            .with_context(|| format!("{url} answered with unexpected content"))
    }

    /// The file of a package.
    pub(crate) fn locate(&self, package: &str, version: &str) -> Result<Found> {
        let files: BinaryFiles =
            self.ask(&format!("binary/{package}/{version}/binfiles?fileinfo=1"))?;
        let Some(file) = files
            .result
            .iter()
            .find(|file| file.architecture == self.architecture)
        else {
            bail!(
                "{} has no {package} {version} for {}",
                self.base(),
                self.architecture
            );
        };
        if !file.hash.bytes().all(|b| b.is_ascii_hexdigit()) {
            bail!(
                "{} names a file that is no checksum: {:?}",
                self.base(),
                file.hash
            );
        }
        let infos = files
            .fileinfo
            .get(&file.hash)
            .map_or(&[][..], Vec::as_slice);
        let ours = infos
            .iter()
            .filter(|info| info.archive_name == self.of.archive);
        let first_seen = ours
            .map(|info| &info.first_seen)
            .min()
            .filter(|time| is_time(time));
        Ok(Found {
            url: format!("{}/file/{}", self.base(), file.hash),
            first_seen: first_seen.cloned(),
        })
    }

    /// The first required package of a kernel, in the newest revision of a version.
    pub(crate) fn find(
        &self,
        packages: &Packages,
        exact: &str,
    ) -> Result<Option<(String, String)>> {
        let source = &self.of.package.replace("{arch}", self.architecture);
        let Some(pattern) = packages.required.first() else {
            return Ok(None);
        };
        let all: Answer<SourceVersion> = match self.ask(&format!("package/{source}/")) {
            Err(error) if is_not_found(&error) => return Ok(None),
            other => other?,
        };
        let mut versions: Vec<_> = all
            .result
            .into_iter()
            .map(|v| v.version)
            .filter(|v| means(v, exact))
            .collect();
        versions.sort_by(|a, b| version::compare(b, a));
        for version in versions {
            let binaries: Answer<Binary> =
                self.ask(&format!("package/{source}/{version}/binpackages"))?;
            if let Some(binary) = binaries
                .result
                .into_iter()
                .find(|b| abi(pattern, &b.name).is_some())
            {
                return Ok(Some((binary.name, binary.version)));
            }
        }
        Ok(None)
    }

    /// URLs of the archive at the time of a file and somewhat later: the archive may have a file before an index lists it.
    pub(crate) fn archives(&self, first_seen: &str) -> Vec<String> {
        let at = |time: &str| format!("{}/archive/{}/{time}", self.base(), self.of.archive);
        let mut addresses = vec![at(first_seen)];
        addresses.extend(next_month(first_seen).map(|time| at(&time)));
        addresses
    }
}

/// Whether a version of the source package is this upstream version, or becomes this package version.
fn means(source: &str, exact: &str) -> bool {
    // The signed packages of 5.10.262-1 are built from version 5.10.262+1.
    let package = source.replacen('+', "-", 1);
    [source, &package, version::upstream(&package)].contains(&exact)
}

/// As `20261115T223000Z`. It is part of a URL, and is compared as text.
fn is_time(text: &str) -> bool {
    text.len() == 16
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || b == b'T' || b == b'Z')
}

/// The beginning of the next month.
fn next_month(time: &str) -> Option<String> {
    let year: u32 = time.get(..4)?.parse().ok()?;
    let month: u32 = time.get(4..6)?.parse().ok()?;
    let (year, month) = if month == 12 {
        (year + 1, 1)
    } else {
        (year, month + 1)
    };
    Some(format!("{year:04}{month:02}01T000000Z"))
}

fn is_not_found(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(HttpError::NotFound { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_signed_packages() {
        assert!(means("5.10.262+1", "5.10.262"));
        assert!(means("5.10.262+1", "5.10.262-1"));
        assert!(means("7.3.4+1~bpo13+1", "7.3.4-1~bpo13+1"));
        assert!(means("7.3.4+1~bpo13+1", "7.3.4"));
        assert!(!means("5.10.26+2", "5.10.262"));
        assert!(!means("5.10.262+1", "5.10.262-2"));
    }

    #[test]
    fn month_after_a_date() {
        assert_eq!(next_month("20261115T223000Z").unwrap(), "20261201T000000Z");
        assert_eq!(next_month("20261231T223000Z").unwrap(), "20270101T000000Z");
        assert_eq!(next_month("x"), None);
        assert!(is_time("20261115T223000Z"));
        assert!(!is_time("../../../../etc/x"));
    }
}
