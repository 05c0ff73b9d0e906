//! The cache of verified kernels. Safe to share between processes, and to kill at any time:
//! an entry gets its final name by a rename when it is complete.

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, bail};
use rustix::fs::syncfs;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::Kernel;
use crate::kernels::arch::Arch;
use crate::kernels::download::mirrors::AllFailed;
use crate::kernels::files::image::Identity;
use crate::kernels::files::manifest::{self, Record, State};
use crate::kernels::source::{Artifact, Kind, Resolved, Source};
use crate::support::lock::{Guard, lock};
use crate::support::{atomic, last_used};

/// The cache folder.
#[derive(Debug)]
pub(crate) struct Cache {
    root: PathBuf,
}

/// `kernel.json` of a cached kernel.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) series: String,
    pub(super) version: String,
    pub(super) release: String,
    /// Entries of older versions have none.
    #[serde(default)]
    pub(super) arch: Arch,
    pub(super) source: Source,
}

impl Entry {
    /// This kernel, as the answer to a request.
    pub(super) fn resolved(self, requested: &str) -> Resolved {
        Resolved {
            requested: requested.to_owned(),
            series: self.series,
            version: self.version,
            source: self.source,
        }
    }
}

/// The state of a kernel in the cache.
pub(super) enum Lookup {
    Absent,
    Damaged(String),
    Ready(Box<Kernel>),
}

pub(crate) const ENTRY: &str = "kernel.json";
const MANIFEST: &str = "manifest";
const IMAGE: &str = "vmlinuz";

impl Cache {
    pub(super) fn new(dir: Option<PathBuf>) -> Result<Self> {
        let root = match dir {
            Some(dir) => dir,
            None => default_dir()?,
        };
        Ok(Self { root })
    }

    /// Its path.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder for the files of an archive's index.
    pub(super) fn lists(&self, id: &str) -> PathBuf {
        self.root.join("lists").join(id)
    }

    /// The file of a downloaded key.
    pub(super) fn key(&self, fingerprint: &str) -> PathBuf {
        self.root.join("keys").join(format!("{fingerprint}.asc"))
    }

    /// The file of the uncompressed kernel, by the SHA-256 of its image.
    pub(super) fn uncompressed(&self, sha256: &str) -> PathBuf {
        self.root.join("vmlinux").join(sha256)
    }

    fn kernels(&self) -> PathBuf {
        self.root.join("kernels")
    }

    /// The folder of a kernel. Its name contains a digest of the checksums, so each kernel has its own.
    pub(super) fn entry_dir(&self, resolved: &Resolved) -> PathBuf {
        let sums: Vec<_> = resolved
            .source
            .artifacts
            .iter()
            .map(|a| a.sha256.as_bytes())
            .collect();
        let digest = manifest::digest(sums.concat().as_slice());
        let version = file_name(&resolved.source.package_version);
        self.kernels().join(format!("{version}_{}", &digest[..16]))
    }

    /// The folder in which a kernel is built from a source.
    pub(super) fn build_dir(&self, source: &Artifact) -> Result<PathBuf> {
        let name = file_name(&source.package);
        let dir = self
            .root
            .join("builds")
            .join(format!("{name}_{}", &source.sha256[..16]));
        std::path::absolute(&dir).with_context(|| format!("cannot find {}", dir.display()))
    }

    /// Takes a lock. Calls `on_wait` if another process holds it, and waits.
    pub(super) fn lock(&self, name: &str, on_wait: impl FnOnce()) -> Result<Guard> {
        lock(&self.root, name, None, on_wait)
    }

    /// Finds a kernel. With `thorough`, hashes all of its files; otherwise only those with another time than recorded.
    pub(super) fn lookup(&self, resolved: &Resolved, thorough: bool) -> Result<Lookup> {
        let dir = self.entry_dir(resolved);
        let Some(entry) = read_entry(&dir)? else {
            return Ok(Lookup::Absent);
        };
        let manifest = dir.join(MANIFEST);
        let records = match manifest::read(&manifest) {
            Ok(records) => records,
            Err(error) => return Ok(Lookup::Damaged(format!("{error:#}"))),
        };
        match manifest::check(&dir, &records, thorough) {
            State::Damaged(reason) => return Ok(Lookup::Damaged(reason)),
            State::Touched(records) => {
                // Only saves time in the next run, so a read-only cache is no error.
                let _ = write_atomically(&manifest, manifest::to_text(&records).as_bytes());
            }
            State::Good => {}
        }
        Ok(match kernel(&dir, resolved, entry, &records) {
            Some(kernel) => Lookup::Ready(Box::new(kernel)),
            None => Lookup::Damaged(format!("{MANIFEST} does not list {IMAGE}")),
        })
    }

    /// Records that a cached kernel is used now.
    pub(super) fn mark_used(kernel: &Kernel) {
        last_used::mark(&kernel.image.with_file_name(ENTRY));
    }

    /// All cached kernels of a series, without a check of their files.
    pub(super) fn entries(&self, series: &str) -> Vec<Entry> {
        self.find(|entry| entry.series == series)
    }

    /// The kernels of a series that the harness built under this package version.
    pub(super) fn builds(&self, series: &str, package_version: &str) -> Vec<Entry> {
        self.find(|entry| {
            entry.series == series
                && entry.source.kind == Kind::Built
                && entry.source.package_version == package_version
        })
    }

    /// The cached kernels for which this holds, without a check of their files. The one used last is the last.
    pub(super) fn find(&self, matches: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let dirs = fs::read_dir(self.kernels()).into_iter().flatten().flatten();
        let visible = dirs.filter(|dir| !dir.file_name().to_string_lossy().starts_with('.'));
        let entries = visible.filter_map(|dir| {
            // `lookup` reports an entry that cannot be read.
            let entry = read_entry(&dir.path()).ok().flatten()?;
            matches(&entry).then(|| (last_used::of(&dir.path().join(ENTRY)), entry))
        });
        let mut entries: Vec<_> = entries.collect();
        entries.sort_by_key(|(used, _)| *used);
        entries.into_iter().map(|(_, entry)| entry).collect()
    }

    /// An empty folder for the files of an entry. Call it, and [`Cache::publish`], only with the entry's lock held.
    pub(super) fn begin(&self, resolved: &Resolved) -> Result<TempDir> {
        atomic::partial(&self.entry_dir(resolved))
    }

    /// Removes what killed harnesses left of entries.
    pub(super) fn sweep(&self) {
        atomic::sweep(&self.root, &self.kernels(), "");
    }

    /// Adds advice to an error that is about the cache folder.
    pub(super) fn advise(&self, error: Error) -> Error {
        let disk = error.chain().any(|cause| {
            if let Some(failed) = cause.downcast_ref::<AllFailed>() {
                return failed.disk;
            }
            cause.downcast_ref::<io::Error>().is_some_and(|error| {
                matches!(
                    error.kind(),
                    io::ErrorKind::StorageFull
                        | io::ErrorKind::QuotaExceeded
                        | io::ErrorKind::ReadOnlyFilesystem
                        | io::ErrorKind::PermissionDenied
                        | io::ErrorKind::NotADirectory
                )
            })
        });
        if disk {
            error.context(format!(
                "the cache {} cannot be used; --cache-dir names another folder",
                self.root.display()
            ))
        } else {
            error
        }
    }

    /// Adds the kernel in `partial` to the cache.
    pub(super) fn publish(
        &self,
        partial: &Path,
        records: &[Record],
        identity: Identity,
        resolved: &Resolved,
    ) -> Result<()> {
        let entry = Entry {
            series: resolved.series.clone(),
            // The version of a package is more exact, but a bare image has none.
            version: match resolved.version.as_str() {
                "" => identity.version,
                version => version.to_owned(),
            },
            release: identity.release,
            arch: identity.arch,
            source: resolved.source.clone(),
        };
        let context = || format!("cannot write {}", partial.display());
        fs::write(partial.join(MANIFEST), manifest::to_text(records)).with_context(context)?;
        fs::write(partial.join(ENTRY), serde_json::to_vec_pretty(&entry)?).with_context(context)?;
        // After a power cut the renamed folder must not have empty files. One call syncs all of them.
        syncfs(File::open(partial).with_context(context)?).with_context(context)?;
        fs::create_dir_all(self.kernels()).with_context(context)?;
        atomic::replace(partial, &self.entry_dir(resolved))
    }
}

pub(crate) fn default_dir() -> Result<PathBuf> {
    let absolute = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base =
        absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    match base {
        Some(base) => Ok(base.join("fexit-harness")),
        None => {
            bail!(
                "there is no cache folder, since XDG_CACHE_HOME and HOME are not set: name one with --cache-dir"
            )
        }
    }
}

/// Replaces characters that cannot be in a file name.
fn file_name(text: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "+-.~".contains(c);
    let replace = |c: char| if harmless(c) { c } else { '_' };
    let name: String = text.chars().map(replace).take(100).collect();
    name.trim_start_matches('.').to_owned()
}

/// As [`atomic::write`], with an error that names the file.
pub(super) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    atomic::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

fn read_entry(dir: &Path) -> Result<Option<Entry>> {
    let path = dir.join(ENTRY);
    match fs::read(&path) {
        // An entry that cannot be parsed counts as absent, and is downloaded again.
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn kernel(dir: &Path, resolved: &Resolved, entry: Entry, records: &[Record]) -> Option<Kernel> {
    let existing = |path: PathBuf| path.exists().then_some(path);
    // The request has what verified it; the entry has the URLs of the download.
    let mut source = resolved.source.clone();
    source.artifacts = entry.source.artifacts;
    let image = records.iter().find(|record| record.path == IMAGE)?;
    Some(Kernel {
        requested: resolved.requested.clone(),
        arch: entry.arch,
        version: entry.version,
        image: dir.join(IMAGE),
        sha256: image.sha256.clone(),
        modules: existing(dir.join("lib/modules").join(&entry.release)),
        config: existing(dir.join("config")),
        release: entry.release,
        source,
    })
}
