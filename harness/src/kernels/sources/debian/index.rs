//! The package index of an archive: download, verification, cache.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};

use super::release::{Listed, Release};
use crate::kernels::cache::{Cache, write_atomically};
use crate::kernels::download::http::{Client, Expected, HttpError};
use crate::kernels::download::mirrors::{AllFailed, Why, first_good};
use crate::kernels::files::manifest::digest;
use crate::kernels::sources::debian::archive::Archive;
use crate::kernels::trust::openpgp::{Keyring, Signed};
use crate::support::progress::{Notes, Silent};

/// Limits for release files and package indices.
const MAX_RELEASE: u64 = 16 << 20;
const MAX_PACKAGES: u64 = 512 << 20;

/// A cached index is fresh for this long.
const FRESH: Duration = Duration::from_secs(24 * 60 * 60);

const IN_RELEASE: &str = "InRelease";
const RELEASE: &str = "Release";
const SIGNATURE: &str = "Release.gpg";
const PACKAGES: &str = "Packages.xz";

/// The verified package index of an archive.
#[derive(Debug)]
pub(crate) struct Index {
    /// The text of `Packages`.
    pub(crate) packages: String,
    /// The key and the release file that verified it.
    pub(crate) verified_by: String,
}

/// Downloads indices of archives.
pub(crate) struct Lists<'a> {
    pub(crate) cache: &'a Cache,
    pub(crate) client: &'a Client,
    pub(crate) offline: bool,
    /// Download even if the cached index is fresh.
    pub(crate) refresh: bool,
}

/// An archive at one URL, with the keys that sign it.
#[derive(Clone, Copy)]
struct Mirror<'a> {
    base: &'a str,
    archive: &'a Archive,
    keyring: &'a Keyring,
}

/// The files of an index: the signed release file, and the packages.
struct Files {
    /// `InRelease`, which contains its signature, or `Release` and `Release.gpg`.
    release: ReleaseFiles,
    packages: Vec<u8>,
}

enum ReleaseFiles {
    Inline(Vec<u8>),
    Detached {
        release: Vec<u8>,
        signature: Vec<u8>,
    },
}

impl Lists<'_> {
    /// The index of an archive: a fresh one from the cache, else from its mirrors, else an old one from the cache.
    pub(crate) fn index(
        &self,
        archive: &Archive,
        keyring: &Keyring,
        notes: &Notes<'_>,
    ) -> Result<Index> {
        let dir = self.cache.lists(&id(archive));
        let cached = read(&dir).and_then(|files| {
            // A damaged file counts as absent.
            files.verify(archive, keyring, notes).ok()
        });
        let fresh = age(&dir).is_some_and(|age| age < FRESH);
        match cached {
            Some(index) if self.offline || (fresh && !self.refresh) => Ok(index),
            None if self.offline => {
                bail!(
                    "the index of {} is not in the cache, and --offline forbids the download",
                    archive.suite
                )
            }
            cached => match (self.fetch(archive, keyring, &dir, notes), cached) {
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
        }
    }

    fn fetch(
        &self,
        archive: &Archive,
        keyring: &Keyring,
        dir: &Path,
        notes: &Notes<'_>,
    ) -> Result<Index, AllFailed> {
        let what = format!("no mirror has a usable index of {}", archive.suite);
        first_good(&what, &archive.mirrors, notes, |base| {
            let (files, index) = self.fetch_from(
                Mirror {
                    base,
                    archive,
                    keyring,
                },
                notes,
            )?;
            if let Err(error) = self.store(dir, archive, &files) {
                notes.add(format!(
                    "the index of {} cannot be written to the cache: {error:#}",
                    archive.suite
                ));
            }
            Ok(index)
        })
    }

    /// An old index of the snapshot archive. It is not cached, and its validity may have ended.
    pub(crate) fn at(&self, base: &str, archive: &Archive, keyring: &Keyring) -> Result<Index> {
        let ignored = Notes::new(&Silent);
        let mirror = Mirror {
            base,
            archive,
            keyring,
        };
        self.fetch_from(mirror, &ignored).map(|(_, index)| index)
    }

    fn fetch_from(&self, mirror: Mirror<'_>, notes: &Notes<'_>) -> Result<(Files, Index)> {
        let Mirror {
            base,
            archive,
            keyring,
        } = mirror;
        let suite = format!("{}/dists/{}", base.trim_end_matches('/'), archive.suite);
        let get = |name: &str| self.client.get(&format!("{suite}/{name}"), MAX_RELEASE);
        let release = match get(IN_RELEASE) {
            Err(HttpError::NotFound { .. }) => ReleaseFiles::Detached {
                release: get(RELEASE)?,
                signature: get(SIGNATURE)?,
            },
            other => ReleaseFiles::Inline(other?),
        };
        let context = || suite.clone();
        let (signed, parsed) = release.verify(archive, keyring).with_context(context)?;
        let path = packages_path(archive);
        let listed = parsed.find(&path).with_context(context)?;
        let packages = self.packages(&suite, &path, &listed)?;
        let index = index(&signed, &parsed, archive, &packages, notes).with_context(context)?;
        Ok((Files { release, packages }, index))
    }

    /// Downloads by checksum, since the archive may change in between; else by name.
    fn packages(&self, suite: &str, path: &str, listed: &Listed) -> Result<Vec<u8>> {
        if listed.size > MAX_PACKAGES {
            bail!(
                "{suite}/{path} has {} bytes, more than the limit",
                listed.size
            );
        }
        let folder = path.trim_end_matches(PACKAGES);
        let by_hash = format!("{suite}/{folder}by-hash/SHA256/{}", listed.sha256);
        let plain = format!("{suite}/{path}");
        let (url, bytes) = match self.client.get(&by_hash, listed.size) {
            Ok(bytes) => (by_hash, bytes),
            Err(_) => {
                let bytes = self.client.get(&plain, listed.size)?;
                (plain, bytes)
            }
        };
        listed.expected().check_bytes(&url, &bytes)?;
        Ok(bytes)
    }

    fn store(&self, dir: &Path, archive: &Archive, files: &Files) -> Result<()> {
        let _guard = self.cache.lock(&format!("lists-{}", id(archive)), || {})?;
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        // A concurrent reader of one new and one old file sees that they do not match, and downloads both.
        write_atomically(&dir.join(PACKAGES), &files.packages)?;
        match &files.release {
            ReleaseFiles::Inline(bytes) => write_atomically(&dir.join(IN_RELEASE), bytes),
            ReleaseFiles::Detached { release, signature } => {
                write_atomically(&dir.join(SIGNATURE), signature)?;
                write_atomically(&dir.join(RELEASE), release)
            }
        }
    }
}

impl Files {
    fn verify(&self, archive: &Archive, keyring: &Keyring, notes: &Notes<'_>) -> Result<Index> {
        let (signed, release) = self.release.verify(archive, keyring)?;
        let path = packages_path(archive);
        release
            .find(&path)?
            .expected()
            .check_bytes(&path, &self.packages)?;
        index(&signed, &release, archive, &self.packages, notes)
    }
}

impl ReleaseFiles {
    fn verify(&self, archive: &Archive, keyring: &Keyring) -> Result<(Signed, Release)> {
        let text = |bytes: &[u8]| {
            String::from_utf8(bytes.to_vec()).context("the release file is not text")
        };
        let signed = match self {
            Self::Inline(bytes) => keyring.verify_inline(&text(bytes)?)?,
            Self::Detached { release, signature } => Signed {
                fingerprint: keyring.verify_detached(release, &text(signature)?)?,
                text: text(release)?,
            },
        };
        let release = Release::new(signed.text.clone(), &archive.suite)?;
        Ok((signed, release))
    }
}

impl Listed {
    fn expected(&self) -> Expected<'_> {
        Expected {
            size: Some(self.size),
            sha256: &self.sha256,
            according_to: "the signed release file",
        }
    }
}

fn index(
    signed: &Signed,
    release: &Release,
    archive: &Archive,
    packages: &[u8],
    notes: &Notes<'_>,
) -> Result<Index> {
    let suite = &archive.suite;
    if let Some(end) = release.expired(SystemTime::now()) {
        notes.add(format!(
            "the index of {suite} is out of date: it was valid until {end}"
        ));
    }
    let mut text = String::new();
    liblzma::read::XzDecoder::new_multi_decoder(packages)
        .take(MAX_PACKAGES)
        .read_to_string(&mut text)
        .context("the package index cannot be unpacked")?;
    let date = release.date().unwrap_or("unknown date");
    let verified_by = format!(
        "OpenPGP key {}, {suite} of {date}",
        signed.fingerprint.to_uppercase()
    );
    Ok(Index {
        packages: text,
        verified_by,
    })
}

/// The cached files, if any.
fn read(dir: &Path) -> Option<Files> {
    let file = |name: &str| fs::read(dir.join(name)).ok();
    let release = match file(IN_RELEASE) {
        Some(bytes) => ReleaseFiles::Inline(bytes),
        None => ReleaseFiles::Detached {
            release: file(RELEASE)?,
            signature: file(SIGNATURE)?,
        },
    };
    Some(Files {
        release,
        packages: file(PACKAGES)?,
    })
}

fn age(dir: &Path) -> Option<Duration> {
    let modified = |name: &str| fs::metadata(dir.join(name)).and_then(|m| m.modified()).ok();
    SystemTime::now()
        .duration_since(modified(IN_RELEASE).or_else(|| modified(RELEASE))?)
        .ok()
}

fn packages_path(archive: &Archive) -> String {
    format!(
        "{}/binary-{}/{PACKAGES}",
        archive.component, archive.architecture
    )
}

fn id(archive: &Archive) -> String {
    let Archive {
        suite,
        component,
        architecture,
        mirrors,
        ..
    } = archive;
    let key = format!("{} {component} {architecture}", mirrors.join(" "));
    format!(
        "{}-{}",
        suite.replace('/', "_"),
        &digest(key.as_bytes())[..12]
    )
}
