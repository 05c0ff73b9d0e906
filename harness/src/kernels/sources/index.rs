//! The index of an archive: the packages that it has, whatever its format.

use std::cmp::Ordering;

use anyhow::{Context, Result, bail};

use crate::kernels::source::{Artifact, is_sha256};

/// The limit for a package. Kernel packages without debugging symbols are smaller.
const MAX_PACKAGE: u64 = 2 << 30;

/// A package, as far as the index describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) package: String,
    pub(crate) version: Option<String>,
    /// Relative to the base of the archive.
    pub(crate) path: Option<String>,
    pub(crate) size: Option<String>,
    pub(crate) sha256: Option<String>,
}

/// A verified index.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) entries: Vec<Entry>,
    /// The order of the versions of its packages.
    pub(crate) order: fn(&str, &str) -> Ordering,
    /// The end of its validity, if that is in the past.
    pub(crate) valid_until: Option<String>,
    /// The key and the file that verified it.
    pub(crate) verified_by: String,
}

impl Entry {
    /// The file of this package; an error names the field that is missing or invalid.
    pub(crate) fn artifact(&self) -> Result<Artifact> {
        let package = &self.package;
        let need = |field: &str, value: &Option<String>| {
            value
                .clone()
                .with_context(|| format!("the package index has no {field} for {package}"))
        };
        let size: u64 = need("size", &self.size)?
            .parse()
            .with_context(|| format!("the size of {package} is not a number"))?;
        let artifact = Artifact {
            package: package.clone(),
            version: need("version", &self.version)?,
            path: need("path", &self.path)?,
            size: Some(size),
            sha256: need("SHA-256", &self.sha256)?.to_ascii_lowercase(),
            url: None,
        };
        if !is_sha256(&artifact.sha256) {
            bail!("the SHA-256 of {package} is not 64 hexadecimal digits");
        }
        if size > MAX_PACKAGE {
            bail!("{package} has {size} bytes, more than the limit");
        }
        if artifact.path.starts_with('/') || artifact.path.split('/').any(|part| part == "..") {
            bail!(
                "the path of {package} is outside of the archive: {}",
                artifact.path
            );
        }
        Ok(artifact)
    }
}
