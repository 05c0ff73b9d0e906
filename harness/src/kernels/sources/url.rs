//! A kernel at a URL: `https://host/bzImage#sha256=...`.

use anyhow::{Result, bail};
use serde::Deserialize;

use crate::kernels::source::{Artifact, Kind, Resolved, Source, is_sha256};
use crate::support::error::usage;

/// A kernel of one or more files, each with a URL.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Files {
    /// The image, the modules, or packages with them.
    pub(crate) files: Vec<File>,
}

/// A file and its checksum.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    /// Its URL.
    pub(crate) url: String,
    /// Hexadecimal.
    pub(crate) sha256: String,
    /// In bytes, if known.
    pub(crate) size: Option<u64>,
}

const MARK: &str = "#sha256=";

/// Whether the text is a URL, not a name.
pub(crate) fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// Parses a URL with its checksum.
pub(crate) fn parse(text: &str) -> Result<File> {
    let Some((url, sha256)) = text.split_once(MARK) else {
        return Err(usage(format!(
            "{text}: a kernel from a URL needs a checksum: append {MARK}..."
        )));
    };
    if !is_sha256(sha256) {
        return Err(usage(format!(
            "{text}: a SHA-256 has 64 hexadecimal digits"
        )));
    }
    Ok(File {
        url: url.to_owned(),
        sha256: sha256.to_ascii_lowercase(),
        size: None,
    })
}

impl Files {
    /// Checks the files of the matrix.
    pub(crate) fn check(&self) -> Result<()> {
        if self.files.is_empty() {
            bail!("it has no files");
        }
        for File { url, sha256, .. } in &self.files {
            if !is_url(url) || !is_sha256(sha256) {
                bail!("{url} is not a URL, or {sha256} is not a SHA-256");
            }
        }
        Ok(())
    }

    /// The kernel of these files. `source` is its name in the matrix, if it has one.
    pub(crate) fn resolve(&self, requested: &str, source: Option<&str>) -> Resolved {
        let name = |url: &str| url.rsplit('/').next().unwrap_or(url).to_owned();
        let artifacts: Vec<_> = self
            .files
            .iter()
            .map(|file| Artifact {
                package: name(&file.url),
                version: String::new(),
                path: file.url.clone(),
                size: file.size,
                sha256: file.sha256.to_ascii_lowercase(),
                url: None,
            })
            .collect();
        let verified_by = if source.is_some() {
            "kernels.toml"
        } else {
            "the checksum in its URL"
        };
        Resolved {
            requested: requested.to_owned(),
            series: requested.to_owned(),
            // Only the image contains it.
            version: String::new(),
            source: Source {
                kind: Kind::Url,
                name: source.unwrap_or("url").to_owned(),
                package_version: artifacts
                    .first()
                    .map(|artifact| artifact.package.clone())
                    .unwrap_or_default(),
                artifacts,
                verified_by: verified_by.to_owned(),
                notes: Vec::new(),
                build: None,
            },
        }
    }
}
