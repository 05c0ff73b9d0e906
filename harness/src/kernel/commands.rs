//! What `harness kernels ...` does, without its printing.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::cache::write_atomically;
use super::lock::{Lock, Locked, Package};
use super::request::Request;
use super::{Kernels, Progress};
use crate::error::usage;

/// What became of one series when the lock was renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// As `5.10`.
    pub series: String,
    /// The package version that was locked before.
    pub old: Option<String>,
    /// The one that is locked now.
    pub new: String,
}

/// Asks the archives for the newest kernel of each series, all if none is named, and writes the lock.
///
/// Nothing is written if any of them cannot be resolved.
pub fn update(
    kernels: &Kernels,
    series: &[String],
    progress: &dyn Progress,
) -> Result<Vec<Change>> {
    let path = lock_path(kernels)?;
    let mut lock = Lock::default();
    let mut changes = Vec::new();
    for known in kernels.matrix().series() {
        let old = kernels.matrix().lock.find(&known.name);
        if !series.is_empty() && !series.contains(&known.name) {
            lock.kernels.extend(old.cloned());
            continue;
        }
        let new = newest(kernels, &known.name, progress)?;
        let version = |locked: &Locked| {
            locked
                .packages
                .first()
                .map(|package| package.version.clone())
        };
        changes.push(Change {
            series: known.name.clone(),
            old: old.and_then(version),
            new: version(&new).unwrap_or_default(),
        });
        lock.kernels.push(new);
    }
    write_atomically(&path, lock.to_text()?.as_bytes())?;
    Ok(changes)
}

fn newest(kernels: &Kernels, series: &str, progress: &dyn Progress) -> Result<Locked> {
    let request = Request::parse(kernels.matrix(), series)?;
    let resolved = kernels
        .newest(request, progress)
        .with_context(|| format!("series {series}"))?;
    Ok(Locked {
        series: resolved.series,
        version: resolved.version,
        source: resolved.source.name,
        verified_by: resolved.source.verified_by,
        packages: resolved
            .source
            .artifacts
            .iter()
            .map(Package::from)
            .collect(),
    })
}

/// The lock of a matrix that was given lies beside it; the one that is built in comes from the source tree.
fn lock_path(kernels: &Kernels) -> Result<PathBuf> {
    if let Some(matrix) = &kernels.options.matrix {
        return Ok(matrix.with_extension("lock"));
    }
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels");
    match tree.canonicalize() {
        Ok(tree) => Ok(tree.join("kernels.lock")),
        Err(_) => Err(usage(
            "the lock is built into this harness, and the source tree it was built from is gone: \
             name a kernels.toml with --matrix, whose lock lies beside it",
        )),
    }
}
