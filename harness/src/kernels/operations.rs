//! The work of `harness kernels`, without the output.

use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, bail};
use serde::Serialize;

use super::cache::{Lookup, write_atomically};
use super::{Artifact, Build, Kernel, Kernels, Kind, Options, Resolved, uncompressed};
use crate::kernels::arch::Arch;
use crate::kernels::catalog::lock::{Lock, Locked, Package};
use crate::kernels::catalog::matrix::{Matrix, Source as Origin};
use crate::support::error::{UsageError, usage};
use crate::support::progress::Progress;
use crate::support::progress::Silent;

/// A series of `kernels.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Series {
    /// As `5.10`.
    pub name: String,
    /// Its source, as `bookworm-security`.
    pub source: String,
    /// The upstream version that it is locked to, if it is.
    pub version: Option<String>,
    /// The version of the packages that it is locked to.
    pub package_version: Option<String>,
    /// The size of its download in bytes, if known.
    pub size: Option<u64>,
    /// Whether the locked kernel is in the cache.
    pub cached: bool,
    /// The release of the newest kernel of it that the harness built.
    pub built: Option<String>,
    /// Whether that kernel is below the minimum of fexit and refuses it.
    pub lower_side: bool,
    /// Whether `all` includes it.
    pub in_all: bool,
}

/// Every series, the oldest first, and the locked images. Does not use the network.
pub fn list(kernels: &Kernels) -> Result<Vec<Series>> {
    let matrix = kernels.matrix();
    let describe = |(name, in_all): (&str, bool)| {
        let series = matrix.find(name);
        let locked = matrix.lock.find(name);
        let resolved = locked.and_then(|_| kernels.resolve(name, &Silent).ok());
        let ready = |resolved| {
            Ok::<_, Error>(matches!(
                kernels.cache.lookup(resolved, false)?,
                Lookup::Ready(_)
            ))
        };
        let built = series.map(|series| kernels.built_of(series));
        let built = built.unwrap_or_default().into_iter().next();
        let build = built.as_ref().and_then(|entry| entry.source.build.as_ref());
        Ok(Series {
            name: name.to_owned(),
            source: match series {
                Some(series) => series.source.clone(),
                None => locked.map_or_else(String::new, |locked| locked.source.clone()),
            },
            version: locked.map(|locked| locked.version.clone()),
            package_version: locked.and_then(package_version),
            size: resolved.as_ref().and_then(Resolved::size),
            lower_side: build.is_some_and(Build::is_lower_side),
            built: built.map(|entry| entry.release),
            cached: resolved.as_ref().map(ready).transpose()?.unwrap_or(false),
            in_all,
        })
    };
    lockable(matrix, &[]).into_iter().map(describe).collect()
}

/// Downloads kernels. A failed download does not prevent the others; a wrong name does.
pub fn fetch(
    kernels: &Kernels,
    requests: &[String],
    progress: &dyn Progress,
) -> Result<Vec<(String, Result<Kernel>)>> {
    let one = |name: String| {
        let kernel = match kernels.resolve(&name, progress) {
            Err(error) if error.is::<UsageError>() => return Err(error),
            resolved => resolved.and_then(|resolved| kernels.fetch(&resolved, progress)),
        };
        Ok((name, kernel))
    };
    kernels.expand(requests)?.into_iter().map(one).collect()
}

/// Whether a cached kernel is what was downloaded or built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Every byte is.
    Good {
        /// SHA-256 of its image, in hexadecimal.
        image_sha256: String,
    },
    /// It is not: what was changed, and what to do.
    Damaged(String),
    /// It is not in the cache.
    Absent,
}

/// Hashes every byte of cached kernels, and compares their uncompressed forms with what their images unpack to.
/// Neither fetches nor removes anything.
pub fn verify(kernels: &Kernels, requests: &[String]) -> Result<Vec<(String, Health)>> {
    let one = |name: String| {
        let resolved = kernels.resolve(&name, &Silent)?;
        let health = match kernels.cache.lookup(&resolved, true)? {
            Lookup::Ready(kernel) => {
                let path = kernels.cache.uncompressed(&kernel.sha256);
                match uncompressed::verify(&kernel.image, &path) {
                    Ok(()) => Health::Good {
                        image_sha256: kernel.sha256,
                    },
                    Err(reason) => Health::Damaged(format!("{reason:#}")),
                }
            }
            Lookup::Damaged(reason) => {
                let dir = kernels.cache.entry_dir(&resolved);
                let entry = dir.file_name().unwrap_or_default().to_string_lossy();
                let again = match resolved.source.kind {
                    Kind::Built => {
                        format!("`{}` builds it", resolved.build_command())
                    }
                    _ => "the next run downloads it".to_owned(),
                };
                Health::Damaged(format!(
                    "{reason}; `harness cache clear {entry}` removes the kernel, and {again} again"
                ))
            }
            Lookup::Absent => Health::Absent,
        };
        Ok((name, health))
    };
    kernels.expand(requests)?.into_iter().map(one).collect()
}

/// The update of one series in the lock.
#[derive(Debug)]
pub struct Change {
    /// As `5.10`.
    pub series: String,
    /// The old package version.
    pub old: Option<String>,
    /// The new package version. After an error the series stays locked to the old one.
    pub new: Result<String>,
}

/// Locks each of these series to its newest kernel, those of `all` if the list is empty, and writes the lock. A group
/// or a pattern means all its series.
pub fn update(
    kernels: &Kernels,
    series: &[String],
    progress: &dyn Progress,
) -> Result<Vec<Change>> {
    update_with(kernels, series, progress, None)
}

/// Boots a kernel, or says why it does not boot.
pub type Boot<'a> = dyn Fn(&Kernel) -> Result<()> + 'a;

/// As [`update`], but downloads each new kernel and locks it only if `boot` succeeds.
pub fn update_booted(
    kernels: &Kernels,
    series: &[String],
    progress: &dyn Progress,
    boot: &Boot<'_>,
) -> Result<Vec<Change>> {
    update_with(kernels, series, progress, Some(boot))
}

fn update_with(
    kernels: &Kernels,
    series: &[String],
    progress: &dyn Progress,
    boot: Option<&Boot<'_>>,
) -> Result<Vec<Change>> {
    let path = lock_path(kernels)?;
    let series = &match series {
        [] => Vec::new(),
        names => kernels.expand(names)?,
    };
    let kernels = &Kernels::open(Options {
        newest: true,
        ..kernels.options.clone()
    })?;
    for name in series {
        if let Some(image) = kernels.matrix().image(name)? {
            if image.digest.is_some() {
                return Err(usage(format!(
                    "{name} has a digest, so it always means the same image, and there is nothing to lock"
                )));
            }
            continue;
        }
        let Some(known) = kernels.matrix().find(name) else {
            return Err(usage(format!(
                "only a series or the tag of an image can be locked, and {name:?} is neither"
            )));
        };
        if let Origin::KernelOrg(_) | Origin::Own = kernels.matrix().source(known)? {
            return Err(usage(format!(
                "{name} is built, not downloaded, so there is nothing to lock: `harness kernels build {name}`"
            )));
        }
    }
    let mut lock = Lock::default();
    let mut changes = Vec::new();
    for (name, in_all) in lockable(kernels.matrix(), series) {
        let old = kernels.matrix().lock.find(name);
        let selected = match series.is_empty() {
            true => in_all && kernels.arches().contains(&Arch::of_name(name)),
            false => series.iter().any(|requested| requested == name),
        };
        if !selected {
            lock.kernels.extend(old.cloned());
            continue;
        }
        let new = newest(kernels, name, progress).and_then(|resolved| {
            let mut new = locked(resolved.clone());
            let is_new = old.is_none_or(|old| old.packages != new.packages);
            if let Some(boot) = boot.filter(|_| is_new) {
                let kernel = fetch_this(kernels, &resolved, progress)?;
                boot(&kernel).with_context(|| format!("{} does not boot", kernel.release))?;
                new.version = kernel.version;
            }
            if let (Some(old), false) = (old, is_new) {
                new.version.clone_from(&old.version);
            }
            Ok(new)
        });
        changes.push(Change {
            series: name.to_owned(),
            old: old.and_then(package_version),
            new: new
                .as_ref()
                .map(|new| package_version(new).unwrap_or_default())
                .map_err(|e| Error::msg(format!("{e:#}"))),
        });
        lock.kernels.extend(new.ok().or(old.cloned()));
    }
    write_atomically(&path, lock.to_text()?.as_bytes())?;
    Ok(changes)
}

/// What can be locked, and whether `all` includes it: the series, and the images that are locked or requested.
fn lockable<'a>(matrix: &'a Matrix, requested: &'a [String]) -> Vec<(&'a str, bool)> {
    let locked = matrix.lock.kernels.iter().map(|locked| &locked.series);
    let is_image = |name: &&String| matches!(matrix.image(name), Ok(Some(_)));
    let mut images: Vec<_> = locked.chain(requested).filter(is_image).collect();
    images.sort();
    images.dedup();
    let series = matrix.series().iter();
    let series = series.map(|series| (series.name.as_str(), series.in_all));
    let images = images.into_iter().map(|name| (name.as_str(), false));
    series.chain(images).collect()
}

fn package_version(locked: &Locked) -> Option<String> {
    locked
        .packages
        .first()
        .map(|package| package.version.clone())
}

fn newest(kernels: &Kernels, series: &str, progress: &dyn Progress) -> Result<Resolved> {
    kernels
        .newest(series, progress)
        .with_context(|| format!("series {series}"))
}

/// The kernel itself, not one that replaces it.
fn fetch_this(kernels: &Kernels, resolved: &Resolved, progress: &dyn Progress) -> Result<Kernel> {
    let kernel = kernels.fetch(resolved, progress)?;
    let sums = |artifacts: &[Artifact]| -> Vec<String> {
        artifacts.iter().map(|a| a.sha256.clone()).collect()
    };
    if sums(&kernel.source.artifacts) != sums(&resolved.source.artifacts) {
        bail!("{} cannot be downloaded", resolved.source.package_version);
    }
    Ok(kernel)
}

fn locked(resolved: Resolved) -> Locked {
    let kind = resolved.source.kind;
    Locked {
        series: resolved.series,
        kind: (kind == Kind::DebianSnapshot).then_some(kind),
        version: resolved.version,
        source: resolved.source.name,
        verified_by: resolved.source.verified_by,
        packages: resolved
            .source
            .artifacts
            .iter()
            .map(Package::from)
            .collect(),
    }
}

/// The lock is next to the matrix: the one of --matrix, or the one in the source tree.
fn lock_path(kernels: &Kernels) -> Result<PathBuf> {
    if let Some(matrix) = &kernels.options.matrix {
        return Ok(matrix.with_extension("lock"));
    }
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels");
    match tree.canonicalize() {
        Ok(tree) => Ok(tree.join("kernels.lock")),
        Err(_) => Err(usage(
            "this harness was built from a source tree that no longer exists, so there is no lock to write: \
             name a kernels.toml with --matrix; its lock is in the same folder",
        )),
    }
}
