//! `kernels.lock`: the kernel of each series, so that a run can be repeated and needs no index.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::kernels::source::{Artifact, Kind, is_sha256};

/// The format of the file that this code writes and reads.
const VERSION: u32 = 1;

const HEADER: &str = "\
# What each series of kernels.toml resolved to. Written by `harness kernels update`, not by hand: the checksums come
# from indices whose signature was verified, those of images from their registry. A kernel that differs is not booted.

";

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lock {
    version: u32,
    /// In the order of the matrix.
    #[serde(default, rename = "kernel")]
    pub(crate) kernels: Vec<Locked>,
}

/// What one series resolved to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Locked {
    /// As `5.10`.
    pub(crate) series: String,
    /// The upstream version, as `5.10.262`.
    pub(crate) version: String,
    /// Its source in the matrix.
    pub(crate) source: String,
    /// The kind of its source, if it differs from the matrix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<Kind>,
    /// What verified it when it was locked.
    pub(crate) verified_by: String,
    /// What to download.
    #[serde(rename = "package")]
    pub(crate) packages: Vec<Package>,
}

/// One file to download.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Package {
    /// The package's name.
    pub(crate) name: String,
    /// The package's version.
    pub(crate) version: String,
    /// Its path below the base of the archive, or its URL.
    pub(crate) path: String,
    /// In bytes, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
    /// Hexadecimal.
    pub(crate) sha256: String,
}

impl Default for Lock {
    fn default() -> Self {
        Self {
            version: VERSION,
            kernels: Vec::new(),
        }
    }
}

impl Lock {
    /// Reads a lock file, and refuses an invalid one.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let lock: Self = toml::from_str(text).context("this is not a lock file")?;
        if lock.version != VERSION {
            bail!(
                "its format is version {}, but this harness reads version {VERSION}",
                lock.version
            );
        }
        for (i, locked) in lock.kernels.iter().enumerate() {
            let series = &locked.series;
            if lock.kernels[..i]
                .iter()
                .any(|earlier| earlier.series == *series)
            {
                bail!("series {series} is locked twice");
            }
            if locked.packages.is_empty() {
                bail!("series {series} is locked to no package");
            }
            for package in &locked.packages {
                if !is_sha256(&package.sha256) {
                    bail!(
                        "the sha256 of {} (series {series}) is not 64 hexadecimal digits",
                        package.name
                    );
                }
            }
        }
        Ok(lock)
    }

    /// The text of the file.
    pub(crate) fn to_text(&self) -> Result<String> {
        Ok(format!("{HEADER}{}", toml::to_string(self)?))
    }

    /// The kernel that a series is locked to.
    pub(crate) fn find(&self, series: &str) -> Option<&Locked> {
        self.kernels.iter().find(|locked| locked.series == series)
    }
}

impl Locked {
    /// What to download.
    pub(crate) fn artifacts(&self) -> Vec<Artifact> {
        self.packages.iter().map(Artifact::from).collect()
    }
}

impl From<&Package> for Artifact {
    fn from(package: &Package) -> Self {
        Self {
            package: package.name.clone(),
            version: package.version.clone(),
            path: package.path.clone(),
            size: package.size,
            sha256: package.sha256.to_ascii_lowercase(),
            url: None,
        }
    }
}

impl From<&Artifact> for Package {
    fn from(artifact: &Artifact) -> Self {
        Self {
            name: artifact.package.clone(),
            version: artifact.version.clone(),
            path: artifact.path.clone(),
            size: artifact.size,
            sha256: artifact.sha256.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock() -> Lock {
        let package = |name: &str| Package {
            name: name.into(),
            version: "7.3.4-1~bpo13+1".into(),
            path: format!("pool/main/l/linux/{name}.deb"),
            size: Some(1_025_208),
            sha256: "e0".repeat(32),
        };
        let locked = |series: &str| Locked {
            series: series.into(),
            version: "7.3.4".into(),
            source: "trixie-backports".into(),
            kind: (series == "7.4").then_some(Kind::DebianSnapshot),
            verified_by: "key A, 2026".into(),
            packages: vec![package("linux-binary"), package("linux-modules")],
        };
        Lock {
            version: 1,
            kernels: vec![locked("7.3"), locked("7.4")],
        }
    }

    #[test]
    fn round_trips() {
        let lock = lock();
        let text = lock.to_text().unwrap();
        assert!(text.starts_with("# "), "{text}");
        assert_eq!(Lock::parse(&text).unwrap(), lock);
        assert_eq!(
            Lock::parse(&Lock::default().to_text().unwrap()).unwrap(),
            Lock::default()
        );
    }

    #[test]
    fn damaged_lock_is_refused_with_its_field() {
        let good = lock().to_text().unwrap();
        let cases = [
            (good.replacen("version = 1\n", "version = 2\n", 1), "version 2"),
            (good.replacen(&"e0".repeat(32), "e0", 1), "sha256 of linux-binary (series 7.3)"),
            (good.replace("\"7.4\"", "\"7.3\""), "series 7.3 is locked twice"),
            (good.replacen("size = 1025208", "size = -1", 1), "not a lock file"),
            (good.replacen("size", "sise", 1), "not a lock file"),
            ("version = 1\n[[kernel]]\nseries='1'\nversion=''\nsource=''\nverified_by=''\npackage=[]".into(), "no package"),
        ];
        for (text, message) in cases {
            let error = format!("{:#}", Lock::parse(&text).unwrap_err());
            assert!(error.contains(message), "{error:?} should say {message:?}");
        }
    }
}
