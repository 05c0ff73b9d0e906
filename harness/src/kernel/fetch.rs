//! From a resolved kernel to files in the cache.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, bail};

use super::cache::Lookup;
use super::http::Expected;
use super::manifest::Record;
use super::mirrors::{AllFailed, Why, first_good};
use super::progress::{Notes, Progress};
use super::request::Request;
use super::source::{Artifact, Resolved};
use super::{Kernel, Kernels, deb, debian, image};

impl Kernels {
    /// Brings a kernel into the cache, unless it is there. What is returned was verified down to its files.
    pub fn fetch(&self, resolved: &Resolved, progress: &dyn Progress) -> Result<Kernel> {
        let notes = Notes::new(progress);
        let mut kernel = match self.obtain(resolved, &notes) {
            Err(error) if resolved.any_of_series() => self.replace(resolved, error, &notes)?,
            result => result?,
        };
        kernel.source.notes.extend(notes.take());
        Ok(kernel)
    }

    /// Another kernel of the series, for one that is not to be had any more.
    fn replace(&self, resolved: &Resolved, error: Error, notes: &Notes<'_>) -> Result<Kernel> {
        let gone = error
            .downcast_ref::<AllFailed>()
            .is_some_and(|failed| failed.why == Why::Gone);
        let other = if self.options.offline {
            self.newest_cached(&resolved.series)?
        } else if gone {
            let series = self
                .matrix
                .find(&resolved.series)
                .context("a series that is not in the matrix")?;
            Some(self.indexed(
                Request {
                    series,
                    exact: None,
                },
                notes,
            )?)
        } else {
            None
        };
        match other {
            Some(other) if other.source.artifacts != resolved.source.artifacts => {
                notes.add(format!(
                    "{} {}: {error:#}; using {} instead: `harness kernels update` renews the lock",
                    resolved.series, resolved.source.package_version, other.source.package_version
                ));
                self.obtain(&other, notes)
            }
            _ => Err(error),
        }
    }

    fn newest_cached(&self, series: &str) -> Result<Option<Resolved>> {
        let entries = self.cache.entries(series)?.into_iter();
        let newest = entries.max_by(|a, b| {
            debian::version::compare(&a.source.package_version, &b.source.package_version)
        });
        Ok(newest.map(|entry| Resolved {
            requested: series.to_owned(),
            series: series.to_owned(),
            version: entry.version,
            source: entry.source,
        }))
    }

    fn obtain(&self, resolved: &Resolved, notes: &Notes<'_>) -> Result<Kernel> {
        let name = format!("{} {}", resolved.series, resolved.source.package_version);
        let thorough = self.options.thorough;
        let cached = self.cache.lookup(resolved, thorough)?;
        if let Lookup::Ready(kernel) = cached {
            return Ok(*kernel);
        }
        if self.options.offline {
            match cached {
                Lookup::Damaged(why) => bail!(
                    "the cached kernel {name} is damaged ({why}), and --offline forbids to fetch it again"
                ),
                _ => bail!(
                    "the kernel {name} is not in the cache, and --offline forbids to fetch it"
                ),
            }
        }
        let entry = self.cache.entry_dir(resolved);
        let lock = entry.file_name().unwrap_or_default().to_string_lossy();
        let _guard = self.cache.lock(&lock, || {
            notes.progress.note(&format!(
                "waiting for another harness that is fetching {name}"
            ));
        })?;
        // It may have come while we waited.
        match self.cache.lookup(resolved, thorough)? {
            Lookup::Ready(kernel) => return Ok(*kernel),
            Lookup::Damaged(why) => notes.add(format!(
                "the cached kernel {name} is damaged ({why}): fetching it again"
            )),
            Lookup::Absent => {}
        }
        let dir = self.cache.begin(resolved)?;
        let built = self.build(&dir, resolved, notes);
        if built.is_err() {
            // Nobody would trust it, but it need not lie around either.
            let _ = fs::remove_dir_all(&dir);
        }
        built?;
        match self.cache.lookup(resolved, false)? {
            Lookup::Ready(kernel) => Ok(*kernel),
            _ => bail!(
                "the cache {} does not keep what is written to it",
                entry.display()
            ),
        }
    }

    /// Downloads and unpacks into `dir`, then makes it the cached kernel.
    fn build(&self, dir: &Path, resolved: &Resolved, notes: &Notes<'_>) -> Result<()> {
        let mut resolved = resolved.clone();
        let vouched = resolved.source.verified_by.clone();
        let mut records = Vec::new();
        for artifact in &mut resolved.source.artifacts {
            let deb = self.download(dir, &resolved.series, artifact, &vouched, notes)?;
            records.extend(deb::unpack(&deb, dir)?);
            // Its contents have checksums of their own now; twice the space would buy nothing.
            fs::remove_file(&deb).with_context(|| format!("cannot remove {}", deb.display()))?;
        }
        let release = check(dir, &records)?;
        self.cache.publish(dir, &records, &release, &resolved)
    }

    fn download(
        &self,
        dir: &Path,
        series: &str,
        artifact: &mut Artifact,
        according_to: &str,
        notes: &Notes<'_>,
    ) -> Result<PathBuf> {
        let path = dir.join("package.partial");
        let mirrors = self.mirrors(series)?;
        let expected = Expected {
            size: artifact.size,
            sha256: &artifact.sha256,
            according_to,
        };
        let what = format!("{} {} is not to be had", artifact.package, artifact.version);
        let url = first_good(&what, mirrors, notes, |base| {
            let url = format!("{base}/{}", artifact.path);
            self.client
                .download(&url, expected, &path, notes.progress)?;
            Ok(url)
        })?;
        artifact.url = Some(url);
        Ok(path)
    }
}

/// Whether the packages together make a kernel. Returns its release.
fn check(dir: &Path, records: &[Record]) -> Result<String> {
    if !records.iter().any(|record| record.path == "vmlinuz") {
        bail!("there is no kernel image in its packages");
    }
    let release = image::release(&dir.join("vmlinuz"))?;
    let prefix = format!("lib/modules/{release}/");
    let foreign =
        |record: &&Record| record.path.starts_with("lib/") && !record.path.starts_with(&prefix);
    if let Some(record) = records.iter().find(foreign) {
        bail!(
            "its image is {release}, but its packages hold {}",
            record.path
        );
    }
    Ok(release)
}
