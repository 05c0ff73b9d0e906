//! The kernels that can be asked for, and the cache of those that were.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};

use super::cache::Cache;
use super::debian::{self, Index, Lists, Wanted, version};
use super::http::{Client, Patience};
use super::matrix::{Archive, Matrix, Series, Source as Origin};
use super::progress::{Notes, Progress};
use super::request::{self, Request};
use super::source::{Artifact, Kind, Resolved, Source};
use crate::error::usage;

const LOCK: &str = "kernels.lock";

/// How kernels are looked for and kept.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where downloads are kept; `$XDG_CACHE_HOME/fexit-harness` or `~/.cache/fexit-harness` if absent.
    pub cache_dir: Option<PathBuf>,
    /// Never use the network.
    pub offline: bool,
    /// Another `kernels.toml`, with `kernels.lock` and `keys/` beside it.
    pub matrix: Option<PathBuf>,
    /// Ask the archives for the newest kernel of a series instead of going by the lock.
    pub newest: bool,
    /// Hash every byte of a cached kernel before it is used.
    pub thorough: bool,
    /// How long to wait for servers.
    pub patience: Patience,
}

/// The kernels that can be asked for.
#[derive(Debug)]
pub struct Kernels {
    pub(super) options: Options,
    pub(super) matrix: Matrix,
    pub(super) cache: Cache,
    pub(super) client: Client,
    /// Several series share an archive; its index is read once.
    indices: Mutex<HashMap<String, Arc<Index>>>,
}

impl Kernels {
    /// Reads the matrix. Neither touches the network nor writes anything.
    pub fn open(options: Options) -> Result<Self> {
        let matrix = match &options.matrix {
            Some(path) => Matrix::read(path)?,
            None => Matrix::built_in()?,
        };
        Ok(Self {
            cache: Cache::new(options.cache_dir.clone())?,
            client: Client::new(options.patience.clone()),
            indices: Mutex::default(),
            matrix,
            options,
        })
    }

    /// What there is to ask for.
    pub fn matrix(&self) -> &Matrix {
        &self.matrix
    }

    /// One name per kernel from what the user typed: lists, `all`, `latest`, patterns, series, exact versions.
    pub fn expand(&self, requests: &[String]) -> Result<Vec<String>> {
        request::expand(&self.matrix, requests)
    }

    /// Finds out which kernel a name means, and what its files must hash to.
    pub fn resolve(&self, request: &str, progress: &dyn Progress) -> Result<Resolved> {
        let notes = Notes::new(progress);
        let request = Request::parse(&self.matrix, request)?;
        let mut resolved = match self.locked(request, &notes)? {
            Some(resolved) => resolved,
            None => match self.cached(request)? {
                Some(resolved) => resolved,
                None => self.indexed(request, &notes)?,
            },
        };
        self.note_missing(&resolved, &notes)?;
        resolved.source.notes = notes.take();
        Ok(resolved)
    }

    fn note_missing(&self, resolved: &Resolved, notes: &Notes<'_>) -> Result<()> {
        let series = self
            .matrix
            .find(&resolved.series)
            .context("a series that is not in the matrix")?;
        let absent = |pattern: &&String| {
            let mut artifacts = resolved.source.artifacts.iter();
            !artifacts.any(|artifact| debian::abi(pattern, &artifact.package).is_some())
        };
        let optional = &self.matrix.packages(series)?.optional;
        let missing: Vec<_> = optional
            .iter()
            .filter(absent)
            .map(|p| p.replace("{abi}", "*"))
            .collect();
        if !missing.is_empty() {
            notes.add(format!(
                "{} {} is used without {}, which the archive has dropped from its index",
                resolved.series,
                resolved.source.package_version,
                missing.join(" and ")
            ));
        }
        Ok(())
    }

    /// The lock is for whoever asks for a series, or for exactly the version that is locked.
    fn locked(&self, request: Request<'_>, notes: &Notes<'_>) -> Result<Option<Resolved>> {
        let Request { series, exact } = request;
        let Some(locked) = self.matrix.lock.find(&series.name) else {
            return Ok(None);
        };
        if locked.source != series.source {
            notes.add(format!(
                "{LOCK} has {} from {}, but it now comes from {}: run `harness kernels update`",
                series.name, locked.source, series.source
            ));
            return Ok(None);
        }
        let source = origin(
            series,
            locked.artifacts(),
            &format!("{LOCK} ({})", locked.verified_by),
        );
        let wanted = match exact {
            Some(exact) => source.is(exact),
            None => !self.options.newest,
        };
        Ok(wanted.then(|| Resolved {
            requested: request.text().to_owned(),
            series: series.name.clone(),
            version: locked.version.clone(),
            source,
        }))
    }

    /// An exact version that was verified before need not be looked up again, so it works without network.
    fn cached(&self, request: Request<'_>) -> Result<Option<Resolved>> {
        let Some(exact) = request.exact else {
            return Ok(None);
        };
        let series = request.series;
        let entry = self
            .cache
            .entries(&series.name)?
            .into_iter()
            .find(|entry| entry.source.name == series.source && entry.source.is(exact));
        Ok(entry.map(|entry| Resolved {
            requested: exact.to_owned(),
            series: series.name.clone(),
            version: entry.version,
            source: entry.source,
        }))
    }

    /// The newest kernel of a series that its archive has now.
    pub(super) fn newest(&self, request: Request<'_>, progress: &dyn Progress) -> Result<Resolved> {
        self.indexed(request, &Notes::new(progress))
    }

    pub(super) fn indexed(&self, request: Request<'_>, notes: &Notes<'_>) -> Result<Resolved> {
        let Request { series, exact } = request;
        let Origin::Debian(archive) = self.matrix.source(series)?;
        let index = self.index(archive, notes)?;
        let wanted = Wanted {
            series: &series.name,
            packages: self.matrix.packages(series)?,
            exact,
        };
        let Some(artifacts) = debian::newest(&index.packages, wanted)? else {
            let there_are = debian::versions(
                &index.packages,
                Wanted {
                    exact: None,
                    ..wanted
                },
            );
            return match exact {
                Some(exact) => Err(usage(format!(
                    "{} has no kernel {exact}; of {} it has {}",
                    series.source,
                    series.name,
                    if there_are.is_empty() {
                        "none".to_owned()
                    } else {
                        there_are.join(", ")
                    }
                ))),
                None => bail!(
                    "{} has no kernel of the series {}",
                    series.source,
                    series.name
                ),
            };
        };
        Ok(Resolved {
            requested: request.text().to_owned(),
            series: series.name.clone(),
            version: version::upstream(&artifacts[0].version).to_owned(),
            source: origin(series, artifacts, &index.verified_by),
        })
    }

    fn index(&self, archive: &Archive, notes: &Notes<'_>) -> Result<Arc<Index>> {
        let mut indices = self.indices.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = indices.get(&archive.suite) {
            return Ok(Arc::clone(index));
        }
        let keyring = self.matrix.keyring(&archive.keyring)?;
        let lists = Lists {
            cache: &self.cache,
            client: &self.client,
            offline: self.options.offline,
            renew: self.options.newest,
        };
        let index = Arc::new(lists.index(archive, &keyring, notes)?);
        indices.insert(archive.suite.clone(), Arc::clone(&index));
        Ok(index)
    }

    /// The base addresses of the archive that a series comes from.
    pub(super) fn mirrors(&self, series: &str) -> Result<&[String]> {
        let series = self
            .matrix
            .find(series)
            .context("a series that is not in the matrix")?;
        let Origin::Debian(archive) = self.matrix.source(series)?;
        Ok(&archive.mirrors)
    }
}

fn origin(series: &Series, artifacts: Vec<Artifact>, verified_by: &str) -> Source {
    Source {
        kind: Kind::Debian,
        name: series.source.clone(),
        package_version: artifacts
            .first()
            .map(|a| a.version.clone())
            .unwrap_or_default(),
        artifacts,
        verified_by: verified_by.to_owned(),
        notes: Vec::new(),
    }
}
