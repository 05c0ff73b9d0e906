//! From a resolved kernel to files in the cache.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, bail};

use super::cache::{Cache, Lookup};
use super::{Kernel, Kernels, Options};
use crate::kernels::catalog::matrix::Source as Origin;
use crate::kernels::catalog::request::Request;
use crate::kernels::download::http::Expected;
use crate::kernels::download::mirrors::{AllFailed, Why, first_good};
use crate::kernels::download::unpack::unpack;
use crate::kernels::files::image::{self, Identity};
use crate::kernels::files::manifest::Record;
use crate::kernels::source::{Artifact, Kind, Resolved};
use crate::kernels::sources::oci::layers::Layers;
use crate::kernels::sources::rpm::package;
use crate::kernels::sources::url::is_url;
use crate::kernels::version;
use crate::support::progress::{Notes, Progress};

impl Kernels {
    /// Downloads a kernel unless the cache has it. All of its files are verified.
    pub fn fetch(&self, resolved: &Resolved, progress: &dyn Progress) -> Result<Kernel> {
        let notes = Notes::new(progress);
        let obtained = match self.obtain(resolved, &notes) {
            Err(error) if resolved.any_of_series() => self.replace(resolved, error, &notes),
            result => result,
        };
        let mut kernel = obtained.map_err(|error| self.cache.advise(error))?;
        Cache::mark_used(&kernel);
        kernel.source.notes.extend(notes.take());
        Ok(kernel)
    }

    /// Another kernel of the series, in the place of one that can no longer be downloaded.
    fn replace(&self, resolved: &Resolved, error: Error, notes: &Notes<'_>) -> Result<Kernel> {
        let gone = error
            .downcast_ref::<AllFailed>()
            .is_some_and(|failed| matches!(failed.why, Why::Gone | Why::Forbidden));
        let other = match self.matrix.find(&resolved.series) {
            Some(series) if self.options.offline => self.newest_cached(&series.name)?,
            Some(series) if gone => Some(self.refreshed()?.ask(Request::of(series), notes)?),
            _ => None,
        };
        let entry = |resolved| self.cache.entry_dir(resolved);
        match other {
            Some(other) if entry(&other) != entry(resolved) => {
                notes.add(format!(
                    "{} {}: {error:#}; using {} instead: `harness kernels update` updates the lock",
                    resolved.series, resolved.source.package_version, other.source.package_version
                ));
                self.obtain(&other, notes)
            }
            _ if gone && resolved.source.kind == Kind::Oci => {
                let name = &resolved.series;
                Err(error.context(format!(
                    "{} has no such layer any more: if {name} is locked, `harness kernels update {name}` updates the lock",
                    resolved.source.name
                )))
            }
            _ => Err(error),
        }
    }

    /// The same kernels with fresh indices: a cached index may list packages that were removed.
    fn refreshed(&self) -> Result<Self> {
        Self::open(Options {
            newest: true,
            ..self.options.clone()
        })
    }

    pub(super) fn newest_cached(&self, series: &str) -> Result<Option<Resolved>> {
        let entries = self.cache.entries(series).into_iter();
        let published = entries.filter(|entry| entry.source.kind != Kind::Built);
        let newest = published
            .max_by(|a, b| version::compare(&a.source.package_version, &b.source.package_version));
        Ok(newest.map(|entry| entry.resolved(series)))
    }

    fn obtain(&self, resolved: &Resolved, notes: &Notes<'_>) -> Result<Kernel> {
        let name = format!("{} {}", resolved.series, resolved.source.package_version);
        let cached = self.cache.lookup(resolved, false)?;
        if let Lookup::Ready(kernel) = cached {
            return Ok(*kernel);
        }
        if resolved.source.kind == Kind::Built {
            bail!(
                "the built kernel {name} is {}: `{}` builds it again",
                match cached {
                    Lookup::Damaged(why) => format!("damaged ({why})"),
                    _ => "not in the cache".to_owned(),
                },
                resolved.build_command()
            );
        }
        if self.options.offline {
            match cached {
                Lookup::Damaged(why) => bail!(
                    "the cached kernel {name} is damaged ({why}), and --offline forbids another download"
                ),
                _ => bail!(
                    "the kernel {name} is not in the cache, and --offline forbids the download"
                ),
            }
        }
        self.cache.sweep();
        let entry = self.cache.entry_dir(resolved);
        let lock = entry.file_name().unwrap_or_default().to_string_lossy();
        let _guard = self.cache.lock(&lock, || {
            notes.progress.note(&format!(
                "waiting for another harness that downloads {name}"
            ));
        })?;
        // The other harness may have downloaded it.
        match self.cache.lookup(resolved, false)? {
            Lookup::Ready(kernel) => return Ok(*kernel),
            Lookup::Damaged(why) => notes.add(format!(
                "the cached kernel {name} is damaged ({why}): downloading it again"
            )),
            Lookup::Absent => {}
        }
        let dir = self.cache.begin(resolved)?;
        self.assemble(dir.path(), resolved, notes)?;
        match self.cache.lookup(resolved, false)? {
            Lookup::Ready(kernel) => Ok(*kernel),
            _ => bail!(
                "the kernel is missing from the cache {} after it was written",
                entry.display()
            ),
        }
    }

    /// Downloads and unpacks into `dir`, and adds that to the cache.
    fn assemble(&self, dir: &Path, resolved: &Resolved, notes: &Notes<'_>) -> Result<()> {
        let mut resolved = resolved.clone();
        let verified_by = resolved.source.verified_by.clone();
        let mut records = Vec::new();
        let mut layers = (resolved.source.kind == Kind::Oci).then(|| Layers::new(dir));
        for artifact in &mut resolved.source.artifacts {
            let file = self.download(dir, &resolved.series, artifact, &verified_by, notes)?;
            self.verify_package(&file, &resolved.series, artifact, notes)?;
            let context = || format!("cannot unpack {}", artifact.package);
            match &mut layers {
                Some(layers) => layers.add(&file).with_context(context)?,
                None => records.extend(unpack(&file, dir).with_context(context)?),
            }
            // The manifest has checksums of its contents.
            fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        }
        if let Some(layers) = layers {
            records = layers.finish()?;
        }
        let identity = check(dir, &records)?;
        let named = ![Kind::Oci, Kind::Url].contains(&resolved.source.kind);
        if named && identity.arch != resolved.arch() {
            bail!(
                "{} is a kernel for {}, not for {}",
                identity.release,
                identity.arch,
                resolved.arch()
            );
        }
        self.cache.publish(dir, &records, identity, &resolved)
    }

    /// Verifies the signature that a package has of its own. Debian's packages have none.
    fn verify_package(
        &self,
        file: &Path,
        series: &str,
        artifact: &Artifact,
        notes: &Notes<'_>,
    ) -> Result<()> {
        let Some(series) = self.matrix.find(series) else {
            return Ok(());
        };
        let Origin::Rpm(repositories) = self.matrix.source(series)? else {
            return Ok(());
        };
        let keyring = self.keyring(&repositories.keys, notes)?;
        package::verify(file, &artifact.package, &keyring)
            .with_context(|| format!("the package {} is refused", artifact.package))
    }

    /// Downloads one file from a mirror of its source or from the snapshot archive.
    fn download(
        &self,
        dir: &Path,
        series: &str,
        artifact: &mut Artifact,
        according_to: &str,
        notes: &Notes<'_>,
    ) -> Result<PathBuf> {
        let path = dir.join("package.partial");
        let expected = Expected {
            size: artifact.size,
            sha256: &artifact.sha256,
            according_to,
        };
        let what = format!(
            "{} {} cannot be downloaded",
            artifact.package, artifact.version
        );
        let get = |url: &str| {
            self.client.download(url, expected, &path, notes)?;
            Ok(url.to_owned())
        };
        let url = if is_url(&artifact.path) {
            first_good(&what, std::slice::from_ref(&artifact.path), notes, get)
        } else {
            let on = |base: &String| format!("{}/{}", base.trim_end_matches('/'), artifact.path);
            let urls: Vec<_> = self.mirrors(series)?.iter().map(on).collect();
            first_good(&what, &urls, notes, get).or_else(|gone| {
                match self.snapshot_url(series, artifact, &gone, notes) {
                    Some(url) => first_good(&what, &[url], notes, get),
                    None => Err(gone),
                }
            })
        };
        artifact.url = Some(url?);
        Ok(path)
    }

    /// The URL in the snapshot archive of a file that no mirror has.
    fn snapshot_url(
        &self,
        series: &str,
        artifact: &Artifact,
        gone: &AllFailed,
        notes: &Notes<'_>,
    ) -> Option<String> {
        let series = self.matrix.find(series)?;
        let Ok(Origin::Debian(archive)) = self.matrix.source(series) else {
            return None;
        };
        let snapshot = self
            .snapshot(archive, series.arch, notes)
            .filter(|_| gone.why == Why::Gone)?;
        match snapshot.locate(&artifact.package, &artifact.version) {
            Ok(found) => {
                notes.add(format!("{gone}; downloaded from the snapshot archive"));
                Some(found.url)
            }
            Err(error) => {
                notes.add(format!(
                    "the request to the snapshot archive failed: {error:#}"
                ));
                None
            }
        }
    }
}

/// Checks that the packages together are one kernel, and returns which.
pub(super) fn check(dir: &Path, records: &[Record]) -> Result<Identity> {
    if !records.iter().any(|record| record.path == "vmlinuz") {
        bail!("its packages contain no kernel image");
    }
    let identity =
        image::identify(&dir.join("vmlinuz")).context("the downloaded image cannot be booted")?;
    let prefix = format!("lib/modules/{}/", identity.release);
    let of_another =
        |record: &&Record| record.path.starts_with("lib/") && !record.path.starts_with(&prefix);
    if let Some(record) = records.iter().find(of_another) {
        bail!(
            "its image is {}, but its packages contain {}",
            identity.release,
            record.path
        );
    }
    Ok(identity)
}
