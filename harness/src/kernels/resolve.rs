//! From a name to checksums: asks the source of a series.

use std::sync::{Arc, PoisonError};

use anyhow::{Context, Result, anyhow, bail};

use super::Kernels;
use crate::kernels::catalog::request::Request;
use crate::kernels::download::mirrors::first_good;
use crate::kernels::source::{Artifact, BUILT, Kind, Resolved};
use crate::kernels::sources::debian::{self, Index, Lists, Query, Snapshot};
use crate::kernels::sources::ubuntu_mainline::{Build, Builds, Finder};
use crate::kernels::trust::openpgp::Keyring;
use crate::kernels::{
    catalog::matrix::{Series, Source as Origin},
    sources::debian::archive::Archive,
};
use crate::support::error::usage;
use crate::support::progress::Notes;

impl Kernels {
    /// Asks the source of a series, with the network if needed.
    pub(super) fn ask(&self, request: Request<'_>, notes: &Notes<'_>) -> Result<Resolved> {
        match self.matrix.source(request.series)? {
            Origin::Debian(archive) => self.ask_debian(request, archive, notes),
            Origin::UbuntuMainline(builds) => self.ask_ubuntu(request, builds, notes),
            Origin::KernelOrg(_) => Err(usage(format!(
                "no distribution has packages of {0} with fexit, and the cache has no build of it: \
                 `harness kernels build {0}` builds it",
                request.text().trim_end_matches(BUILT)
            ))),
            Origin::Url(files) => match request.exact {
                None => Ok(files.resolve(request.text(), Some(&request.series.source))),
                Some(exact) => Err(usage(format!(
                    "{} has no kernel {exact}",
                    request.series.source
                ))),
            },
        }
    }

    fn ask_debian(
        &self,
        request: Request<'_>,
        archive: &Archive,
        notes: &Notes<'_>,
    ) -> Result<Resolved> {
        let Request { series, exact } = request;
        let packages = self.matrix.packages(series)?;
        let query = Query {
            series: &series.name,
            packages,
            exact,
        };
        let mut index = self.index(archive, self.options.newest, notes)?;
        let mut found = debian::newest(&index.packages, query)?;
        if found.is_none() && !self.options.offline {
            // It may be newer than the cached index.
            index = self.index(archive, true, notes)?;
            found = debian::newest(&index.packages, query)?;
        }
        let current = |artifacts| request.resolved(Kind::Debian, artifacts, &index.verified_by);
        let version = match found {
            Some(artifacts) if debian::is_complete(&artifacts, packages) => {
                return Ok(current(artifacts));
            }
            Some(ref artifacts) => Some(artifacts[0].version.clone()),
            None => exact.map(str::to_owned),
        };
        // An earlier index may list the missing packages.
        let older = match version {
            Some(version) => self.ask_snapshot(series, archive, &version, notes),
            None => Ok(None),
        };
        match (older, found) {
            (Ok(Some((artifacts, signed))), _) => {
                Ok(request.resolved(Kind::DebianSnapshot, artifacts, &signed))
            }
            (Ok(None), Some(artifacts)) => Ok(current(artifacts)),
            (Err(error), Some(artifacts)) => {
                notes.add(format!(
                    "the request to the snapshot archive failed: {error:#}"
                ));
                Ok(current(artifacts))
            }
            (older, None) => Err(not_there(request, &index, query, older.err())),
        }
    }

    /// The index of an archive, read once for all series.
    fn index(&self, archive: &Archive, refresh: bool, notes: &Notes<'_>) -> Result<Arc<Index>> {
        let mut indices = self.indices.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((refreshed, index)) = indices.get(&archive.suite)
            && (*refreshed || !refresh)
        {
            return Ok(Arc::clone(index));
        }
        let keyring = self.matrix.keyring(&archive.keyring)?;
        let index = Arc::new(self.lists(refresh).index(archive, &keyring, notes)?);
        indices.insert(archive.suite.clone(), (refresh, Arc::clone(&index)));
        Ok(index)
    }

    fn lists(&self, refresh: bool) -> Lists<'_> {
        Lists {
            cache: &self.cache,
            client: &self.client,
            offline: self.options.offline,
            refresh,
        }
    }

    /// The packages of a version from an old signed index of the snapshot archive.
    fn ask_snapshot(
        &self,
        series: &Series,
        archive: &Archive,
        exact: &str,
        notes: &Notes<'_>,
    ) -> Result<Option<(Vec<Artifact>, String)>> {
        let packages = self.matrix.packages(series)?;
        let Some(snapshot) = self.snapshot(archive) else {
            return Ok(None);
        };
        let Some((name, version)) = snapshot.find(packages, exact)? else {
            return Ok(None);
        };
        let Some(first_seen) = snapshot.locate(&name, &version)?.first_seen else {
            return Ok(None);
        };
        let keyring = self.matrix.keyring(&archive.keyring)?;
        let query = Query {
            series: &series.name,
            packages,
            exact: Some(&version),
        };
        for base in snapshot.archives(&first_seen) {
            let index = self.lists(true).at(&base, archive, &keyring)?;
            if let Some(artifacts) = debian::newest(&index.packages, query)? {
                notes.add(format!("{version} comes from the index in {base}"));
                return Ok(Some((artifacts, index.verified_by)));
            }
        }
        Ok(None)
    }

    /// The snapshot archive, if the archive has one and --offline does not forbid it.
    pub(super) fn snapshot<'a>(&'a self, archive: &'a Archive) -> Option<Snapshot<'a>> {
        let of = archive
            .snapshot
            .as_ref()
            .filter(|_| !self.options.offline)?;
        Some(Snapshot {
            of,
            client: &self.client,
            architecture: &archive.architecture,
        })
    }

    fn ask_ubuntu(
        &self,
        request: Request<'_>,
        builds: &Builds,
        notes: &Notes<'_>,
    ) -> Result<Resolved> {
        let Request { series, exact } = request;
        if self.options.offline {
            bail!(
                "{} is neither locked nor in the cache, and --offline forbids the request",
                request.text()
            );
        }
        let packages = self.matrix.packages(series)?;
        let keyring: Keyring = builds.key.get(&self.cache, &self.client, false)?;
        let what = format!("no mirror of {} lists it", series.source);
        let build = first_good(&what, &builds.mirrors, notes, |base| {
            let (client, keyring, architecture) = (&self.client, &keyring, &*builds.architecture);
            let finder = Finder {
                client,
                base,
                architecture,
                packages,
                keyring,
            };
            match exact {
                Some(exact) => finder.exact(exact),
                None => finder.newest(&series.name),
            }
        })?;
        let Some(Build {
            version,
            artifacts,
            verified_by,
        }) = build
        else {
            let none = format!("{} has no build of {}", series.source, request.text());
            return Err(if exact.is_some() {
                usage(none)
            } else {
                anyhow!(none)
            });
        };
        let mut resolved = request.resolved(Kind::UbuntuMainline, artifacts, &verified_by);
        resolved.version = version;
        Ok(resolved)
    }

    /// The base addresses of what a series comes from.
    pub(super) fn mirrors(&self, series: &str) -> Result<&[String]> {
        // A kernel from a URL has no series.
        let Some(series) = self.matrix.find(series) else {
            return Ok(&[]);
        };
        Ok(match self.matrix.source(series)? {
            Origin::Debian(archive) => &archive.mirrors,
            Origin::UbuntuMainline(builds) => &builds.mirrors,
            Origin::KernelOrg(_) | Origin::Url(_) => &[],
        })
    }

    /// Notes which optional packages a kernel lacks.
    pub(super) fn note_missing(&self, resolved: &Resolved, notes: &Notes<'_>) -> Result<()> {
        let series = self
            .matrix
            .find(&resolved.series)
            .context("the series is not in kernels.toml")?;
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
                "{} {} is used without {}, which its source no longer lists",
                resolved.series,
                resolved.source.package_version,
                missing.join(" and ")
            ));
        }
        Ok(())
    }
}

/// A usage error if neither the index nor the snapshot archive has the exact version.
fn not_there(
    request: Request<'_>,
    index: &Index,
    query: Query<'_>,
    snapshot: Option<anyhow::Error>,
) -> anyhow::Error {
    let Request { series, exact } = request;
    let Some(exact) = exact else {
        return anyhow!(
            "{} has no kernel of the series {}",
            series.source,
            series.name
        );
    };
    let there_are = debian::versions(
        &index.packages,
        Query {
            exact: None,
            ..query
        },
    );
    let there_are = if there_are.is_empty() {
        "none".to_owned()
    } else {
        there_are.join(", ")
    };
    let message = format!(
        "{} has no kernel {exact}; of {} it has {there_are}",
        series.source, series.name
    );
    match snapshot {
        Some(error) => error.context(message + ", and the request to the snapshot archive failed"),
        None => usage(message),
    }
}
