//! From a name to checksums: asks the source of a series.

use std::sync::{Arc, PoisonError};

use anyhow::{Context, Result, anyhow, bail};

use super::Kernels;
use crate::kernels::arch::Arch;
use crate::kernels::catalog::matrix::{Series, Source as Origin};
use crate::kernels::catalog::request::Request;
use crate::kernels::download::mirrors::first_good;
use crate::kernels::source::{Artifact, BUILT, Kind, Resolved};
use crate::kernels::sources::debian::archive::Archive;
use crate::kernels::sources::debian::snapshot::Snapshot;
use crate::kernels::sources::index::Index;
use crate::kernels::sources::lists::{Listing, Lists};
use crate::kernels::sources::packages::abi;
use crate::kernels::sources::rpm::repository::Repositories;
use crate::kernels::sources::search::{Query, newest, newest_of, versions};
use crate::kernels::sources::ubuntu_mainline::{Build, Builds, Finder};
use crate::kernels::trust::keys::{Keys, RemoteKey};
use crate::kernels::trust::openpgp::Keyring;
use crate::support::error::usage;
use crate::support::progress::Notes;

impl Kernels {
    /// Asks the source of a series, with the network if needed.
    pub(super) fn ask(&self, request: Request<'_>, notes: &Notes<'_>) -> Result<Resolved> {
        match self.matrix.source(request.series)? {
            Origin::Debian(archive) => self.ask_debian(request, archive, notes),
            Origin::Rpm(repositories) => self.ask_rpm(request, repositories, notes),
            Origin::UbuntuMainline(builds) => self.ask_ubuntu(request, builds, notes),
            Origin::KernelOrg(_) => Err(usage(format!(
                "no distribution has packages of {0} with fexit, and the cache has no build of it: \
                 `harness kernels build {0}` builds it",
                request.text.trim_end_matches(BUILT)
            ))),
            Origin::Own => Err(usage(format!(
                "the cache has no build of {}: `harness kernels build --source DIR` builds one from your source",
                request.text
            ))),
            Origin::Url(files) => match request.exact {
                None => Ok(files.resolve(request.text, Some(&request.series.source))),
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
        let Request { series, exact, .. } = request;
        let packages = self.matrix.packages(series)?;
        let query = request.query(packages);
        let listings = archive.listings(series.arch);
        let indices = self.indices(&archive.keys, &listings, query, notes)?;
        let found = newest_of(&indices, query)?;
        let current = |(artifacts, index): (Vec<Artifact>, &Index)| {
            request.resolved(Kind::Debian, artifacts, &index.verified_by)
        };
        let version = match found {
            Some((artifacts, index)) if packages.is_complete(&artifacts) => {
                return Ok(current((artifacts, index)));
            }
            Some((ref artifacts, _)) => Some(artifacts[0].version.clone()),
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
            (Ok(None), Some(found)) => Ok(current(found)),
            (Err(error), Some(found)) => {
                notes.add(format!(
                    "the request to the snapshot archive failed: {error:#}"
                ));
                Ok(current(found))
            }
            (older, None) => Err(not_there(request, &indices, query, older.err())),
        }
    }

    fn ask_rpm(
        &self,
        request: Request<'_>,
        repositories: &Repositories,
        notes: &Notes<'_>,
    ) -> Result<Resolved> {
        let query = request.query(self.matrix.packages(request.series)?);
        let listings = repositories.listings();
        let indices = self.indices(&repositories.keys, &listings, query, notes)?;
        match newest_of(&indices, query)? {
            Some((artifacts, index)) => {
                Ok(request.resolved(Kind::Rpm, artifacts, &index.verified_by))
            }
            None => Err(not_there(request, &indices, query, None)),
        }
    }

    /// The indices of an archive: fresh ones if the cached ones do not have the kernel.
    fn indices(
        &self,
        keys: &Keys,
        listings: &[Box<dyn Listing + '_>],
        query: Query<'_>,
        notes: &Notes<'_>,
    ) -> Result<Vec<Arc<Index>>> {
        let all = |refresh: bool| {
            let listings = listings.iter();
            listings
                .map(|listing| self.index(&**listing, keys, refresh, notes))
                .collect::<Result<Vec<_>>>()
        };
        let indices = all(self.options.newest)?;
        if newest_of(&indices, query)?.is_some() || self.options.offline {
            return Ok(indices);
        }
        all(true)
    }

    /// The index of a part of an archive, read once for all series.
    fn index(
        &self,
        listing: &dyn Listing,
        keys: &Keys,
        refresh: bool,
        notes: &Notes<'_>,
    ) -> Result<Arc<Index>> {
        let mut indices = self.indices.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((refreshed, index)) = indices.get(&listing.id())
            && (*refreshed || !refresh)
        {
            return Ok(Arc::clone(index));
        }
        let keyring = self.keyring(keys, notes)?;
        let index = Arc::new(self.lists(refresh).index(listing, &keyring, notes)?);
        indices.insert(listing.id(), (refresh, Arc::clone(&index)));
        Ok(index)
    }

    /// The keys of an archive, downloaded if needed.
    pub(super) fn keyring(&self, keys: &Keys, notes: &Notes<'_>) -> Result<Keyring> {
        let get = |key: &RemoteKey| key.get(&self.cache, &self.client, self.options.offline, notes);
        match keys {
            Keys::Keyring(name) => self.matrix.keyring(name),
            Keys::Remote(keys) => {
                let (first, more) = keys.split_first().context("the archive has no keys")?;
                more.iter()
                    .try_fold(get(first)?, |all, key| Ok(all.and(get(key)?)))
            }
        }
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
        let Some(snapshot) = self.snapshot(archive, series.arch, notes) else {
            return Ok(None);
        };
        let Some((name, version)) = snapshot.find(packages, exact)? else {
            return Ok(None);
        };
        let Some(first_seen) = snapshot.locate(&name, &version)?.first_seen else {
            return Ok(None);
        };
        let keyring = self.keyring(&archive.keys, notes)?;
        let query = Query {
            series: series.version(),
            packages,
            exact: Some(&version),
        };
        for base in snapshot.archives(&first_seen) {
            for listing in archive.listings(series.arch) {
                let index = self.lists(true).at(&base, &*listing, &keyring, notes)?;
                if let Some(artifacts) = newest(&index, query)? {
                    notes.add(format!("{version} comes from the index in {base}"));
                    return Ok(Some((artifacts, index.verified_by)));
                }
            }
        }
        Ok(None)
    }

    /// The snapshot archive, if the archive has one and --offline does not forbid it.
    pub(super) fn snapshot<'a>(
        &'a self,
        archive: &'a Archive,
        arch: Arch,
        notes: &'a Notes<'a>,
    ) -> Option<Snapshot<'a>> {
        let of = archive
            .snapshot
            .as_ref()
            .filter(|_| !self.options.offline)?;
        Some(Snapshot {
            of,
            client: &self.client,
            architecture: arch.debian(),
            notes,
        })
    }

    fn ask_ubuntu(
        &self,
        request: Request<'_>,
        builds: &Builds,
        notes: &Notes<'_>,
    ) -> Result<Resolved> {
        let Request { series, exact, .. } = request;
        if self.options.offline {
            bail!(
                "{} is neither locked nor in the cache, and --offline forbids the request",
                request.text
            );
        }
        let packages = self.matrix.packages(series)?;
        let keyring: Keyring = builds.key.get(&self.cache, &self.client, false, notes)?;
        let what = format!("no mirror of {} lists it", series.source);
        let build = first_good(&what, &builds.mirrors, notes, |base| {
            let (client, keyring, architecture) = (&self.client, &keyring, series.arch.debian());
            let finder = Finder {
                client,
                base,
                architecture,
                packages,
                keyring,
                notes,
            };
            match exact {
                Some(exact) => finder.exact(exact),
                None => finder.newest(series.base_name()),
            }
        })?;
        let Some(Build {
            version,
            artifacts,
            verified_by,
        }) = build
        else {
            let none = format!("{} has no build of {}", series.source, request.text);
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
            Origin::Rpm(repositories) => &repositories.mirrors,
            Origin::UbuntuMainline(builds) => &builds.mirrors,
            Origin::KernelOrg(_) | Origin::Url(_) | Origin::Own => &[],
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
            !artifacts.any(|artifact| abi(pattern, &artifact.package).is_some())
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

/// A usage error if neither the indices nor the snapshot archive have the exact version.
fn not_there(
    request: Request<'_>,
    indices: &[Arc<Index>],
    query: Query<'_>,
    snapshot: Option<anyhow::Error>,
) -> anyhow::Error {
    let Request { series, exact, .. } = request;
    let Some(exact) = exact else {
        return anyhow!(
            "{} has no kernel of the series {}",
            series.source,
            series.name
        );
    };
    let any = Query {
        exact: None,
        ..query
    };
    let mut there_are: Vec<_> = indices
        .iter()
        .flat_map(|index| versions(index, any))
        .collect();
    there_are.dedup();
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
