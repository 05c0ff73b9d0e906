//! Indices of archives in the cache: fresh ones are used again, others are downloaded.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};

use super::index::Index;
use crate::kernels::cache::{Cache, write_atomically};
use crate::kernels::download::http::Client;
use crate::kernels::download::mirrors::{AllFailed, Why, first_good};
use crate::kernels::trust::openpgp::Keyring;
use crate::support::progress::Notes;

/// A cached index is fresh for this long.
const FRESH: Duration = Duration::from_secs(24 * 60 * 60);

/// The files of an index, by name.
pub(crate) type Files = BTreeMap<&'static str, Vec<u8>>;

/// A part of an archive that has an index of its own: a suite of a Debian archive, or an RPM repository.
pub(crate) trait Listing {
    /// Its name for messages.
    fn name(&self) -> &str;

    /// A file name that no other listing has.
    fn id(&self) -> String;

    /// The base addresses of its archive.
    fn mirrors(&self) -> &[String];

    /// The names that its files may have.
    fn file_names(&self) -> &'static [&'static str];

    /// Downloads and verifies its files.
    fn fetch(
        &self,
        client: &Client,
        base: &str,
        keyring: &Keyring,
        notes: &Notes<'_>,
    ) -> Result<(Files, Index)>;

    /// Verifies files from the cache.
    fn verify(&self, files: &Files, keyring: &Keyring) -> Result<Index>;
}

/// Downloads indices of archives.
pub(crate) struct Lists<'a> {
    pub(crate) cache: &'a Cache,
    pub(crate) client: &'a Client,
    pub(crate) offline: bool,
    /// Download even if the cached index is fresh.
    pub(crate) refresh: bool,
}

impl Lists<'_> {
    /// An index: a fresh one from the cache, else from the mirrors, else an old one from the cache.
    pub(crate) fn index(
        &self,
        listing: &dyn Listing,
        keyring: &Keyring,
        notes: &Notes<'_>,
    ) -> Result<Index> {
        let dir = self.cache.lists(&listing.id());
        let files = read(&dir, listing);
        // A damaged file counts as absent.
        let cached = listing.verify(&files, keyring).ok();
        let fresh = age(&dir, &files).is_some_and(|age| age < FRESH);
        let index = match cached {
            Some(index) if self.offline || (fresh && !self.refresh) => Ok(index),
            None if self.offline => {
                bail!(
                    "the index of {} is not in the cache, and --offline forbids the download",
                    listing.name()
                )
            }
            cached => match (self.fetch(listing, keyring, &dir, notes), cached) {
                // Only for a network error. A wrong signature or checksum is never skipped.
                (Err(error), Some(index)) if error.why != Why::Wrong => {
                    notes.add(format!(
                        "{error}; using the cached one ({})",
                        index.verified_by
                    ));
                    Ok(index)
                }
                (result, _) => Ok(result?),
            },
        };
        if let Ok(Index {
            valid_until: Some(end),
            ..
        }) = &index
        {
            let name = listing.name();
            notes.add(format!(
                "the index of {name} is out of date: it was valid until {end}"
            ));
        }
        index
    }

    fn fetch(
        &self,
        listing: &dyn Listing,
        keyring: &Keyring,
        dir: &Path,
        notes: &Notes<'_>,
    ) -> Result<Index, AllFailed> {
        let what = format!("no mirror has a usable index of {}", listing.name());
        first_good(&what, listing.mirrors(), notes, |base| {
            let (files, index) = listing.fetch(self.client, base, keyring, notes)?;
            if let Err(error) = self.store(dir, listing, &files) {
                notes.add(format!(
                    "the index of {} cannot be written to the cache: {error:#}",
                    listing.name()
                ));
            }
            Ok(index)
        })
    }

    /// An old index of the snapshot archive. It is not cached, and its validity may have ended.
    pub(crate) fn at(
        &self,
        base: &str,
        listing: &dyn Listing,
        keyring: &Keyring,
        notes: &Notes<'_>,
    ) -> Result<Index> {
        let fetched = listing.fetch(self.client, base, keyring, notes);
        fetched.map(|(_, index)| index)
    }

    fn store(&self, dir: &Path, listing: &dyn Listing, files: &Files) -> Result<()> {
        let lock = format!("lists-{}", listing.id());
        let _guard = self.cache.lock(&lock, || {})?;
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        // A concurrent reader of one new and one old file sees that they do not match, and downloads both.
        for name in listing.file_names() {
            match files.get(name) {
                Some(bytes) => write_atomically(&dir.join(name), bytes)?,
                None => drop(fs::remove_file(dir.join(name))),
            }
        }
        Ok(())
    }
}

/// The cached files, as far as there are any.
fn read(dir: &Path, listing: &dyn Listing) -> Files {
    let file = |name: &&'static str| Some((*name, fs::read(dir.join(name)).ok()?));
    listing.file_names().iter().filter_map(file).collect()
}

/// The time since the oldest of the files was written.
fn age(dir: &Path, files: &Files) -> Option<Duration> {
    let modified = |name: &&str| fs::metadata(dir.join(name)).and_then(|m| m.modified()).ok();
    let oldest = files.keys().filter_map(modified).min()?;
    SystemTime::now().duration_since(oldest).ok()
}
