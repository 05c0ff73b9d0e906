//! Where verified kernels are kept. Safe to share between processes, and to kill at any time:
//! whatever is under its final name is complete, because it got there by a rename.

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, bail};
use rustix::fs::syncfs;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::Kernel;
use crate::kernels::download::mirrors::AllFailed;
use crate::kernels::files::bzimage::Identity;
use crate::kernels::files::manifest::{self, Record, State};
use crate::kernels::source::{Artifact, Resolved, Source};
use crate::support::lock::{Guard, lock};
use crate::support::{atomic, last_used};

/// The folder of everything that was downloaded.
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

    /// The folder that holds it all.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder for the files of an archive's index.
    pub(super) fn lists(&self, id: &str) -> PathBuf {
        self.root.join("lists").join(id)
    }

    /// The file for a key that was fetched.
    pub(super) fn key(&self, fingerprint: &str) -> PathBuf {
        self.root.join("keys").join(format!("{fingerprint}.asc"))
    }

    /// The file for the uncompressed form of the image with this SHA-256.
    pub(super) fn uncompressed(&self, sha256: &str) -> PathBuf {
        self.root.join("vmlinux").join(sha256)
    }

    fn kernels(&self) -> PathBuf {
        self.root.join("kernels")
    }

    /// Two kernels share a folder only if they are the same to the last bit.
    pub(super) fn entry_dir(&self, resolved: &Resolved) -> PathBuf {
        let sums: Vec<_> = resolved
            .source
            .artifacts
            .iter()
            .map(|a| a.sha256.as_bytes())
            .collect();
        let digest = manifest::digest(sums.concat().as_slice());
        let version = tame(&resolved.source.package_version);
        self.kernels().join(format!("{version}_{}", &digest[..16]))
    }

    /// The folder in which a kernel is built from a source.
    pub(super) fn build_dir(&self, source: &Artifact) -> Result<PathBuf> {
        let name = tame(&source.package);
        let dir = self
            .root
            .join("builds")
            .join(format!("{name}_{}", &source.sha256[..16]));
        std::path::absolute(&dir).with_context(|| format!("cannot find {}", dir.display()))
    }

    /// Waits until no other process holds the lock; `on_wait` is called if there is a need to.
    pub(super) fn lock(&self, name: &str, on_wait: impl FnOnce()) -> Result<Guard> {
        lock(&self.root, name, on_wait)
    }

    /// Looks a kernel up. With `thorough`, every byte of it is hashed; otherwise only files that look touched.
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
                // Only saves the next run from hashing again, so a cache that is read-only may stay as it is.
                let _ = write_atomically(&manifest, manifest::to_text(&records).as_bytes());
            }
            State::Good => {}
        }
        Ok(match kernel(&dir, resolved, entry, &records) {
            Some(kernel) => Lookup::Ready(Box::new(kernel)),
            None => Lookup::Damaged(format!("{MANIFEST} does not list {IMAGE}")),
        })
    }

    /// Says that a cached kernel is used now.
    pub(super) fn mark_used(kernel: &Kernel) {
        last_used::mark(&kernel.image.with_file_name(ENTRY));
    }

    /// What is recorded of a cached kernel.
    pub(super) fn entry(&self, resolved: &Resolved) -> Result<Option<Entry>> {
        read_entry(&self.entry_dir(resolved))
    }

    /// All cached kernels of a series, complete but not checked.
    pub(super) fn entries(&self, series: &str) -> Result<Vec<Entry>> {
        let Ok(dirs) = fs::read_dir(self.kernels()) else {
            return Ok(Vec::new());
        };
        let mut entries = Vec::new();
        for dir in dirs.filter_map(Result::ok) {
            if dir.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            // One that cannot be read is found out when it is looked up by name.
            if let Ok(Some(entry)) = read_entry(&dir.path())
                && entry.series == series
            {
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    /// An empty folder to build an entry in. Call it, and [`Cache::publish`], only with the entry's lock held.
    pub(super) fn begin(&self, resolved: &Resolved) -> Result<TempDir> {
        atomic::partial(&self.entry_dir(resolved))
    }

    /// Removes what killed harnesses left of entries.
    pub(super) fn sweep(&self) {
        atomic::sweep(&self.root, &self.kernels(), "");
    }

    /// Says where the way out is, if the problem is the place where kernels are kept.
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
                "kernels cannot be kept in {}; --cache-dir names another place",
                self.root.display()
            ))
        } else {
            error
        }
    }

    /// Makes what was built in `partial` the cached kernel.
    pub(super) fn publish(
        &self,
        partial: &Path,
        records: &[Record],
        identity: Identity,
        resolved: &Resolved,
    ) -> Result<()> {
        let entry = Entry {
            series: resolved.series.clone(),
            // A package knows better than the image, but an image that came alone is all there is.
            version: match resolved.version.as_str() {
                "" => identity.version,
                version => version.to_owned(),
            },
            release: identity.release,
            source: resolved.source.clone(),
        };
        let context = || format!("cannot write {}", partial.display());
        fs::write(partial.join(MANIFEST), manifest::to_text(records)).with_context(context)?;
        fs::write(partial.join(ENTRY), serde_json::to_vec_pretty(&entry)?).with_context(context)?;
        // One call for a thousand files. Without it, a power cut after the rename could leave them empty.
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
            bail!("neither XDG_CACHE_HOME nor HOME says where to keep kernels: use --cache-dir")
        }
    }
}

/// What can be part of a file name, whatever it was.
fn tame(text: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "+-.~".contains(c);
    let replace = |c: char| if harmless(c) { c } else { '_' };
    let tame: String = text.chars().map(replace).take(100).collect();
    tame.trim_start_matches('.').to_owned()
}

/// As [`atomic::write`], with an error that names the file.
pub(super) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    atomic::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

fn read_entry(dir: &Path) -> Result<Option<Entry>> {
    let path = dir.join(ENTRY);
    match fs::read(&path) {
        // Unreadable is as good as absent: it will be fetched again.
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn kernel(dir: &Path, resolved: &Resolved, entry: Entry, records: &[Record]) -> Option<Kernel> {
    let existing = |path: PathBuf| path.exists().then_some(path);
    // What vouches for it is what was asked today; where it came from was known only when it was downloaded.
    let mut source = resolved.source.clone();
    source.artifacts = entry.source.artifacts;
    let image = records.iter().find(|record| record.path == IMAGE)?;
    Some(Kernel {
        requested: resolved.requested.clone(),
        version: entry.version,
        image: dir.join(IMAGE),
        sha256: image.sha256.clone(),
        modules: existing(dir.join("lib/modules").join(&entry.release)),
        config: existing(dir.join("config")),
        release: entry.release,
        source,
    })
}
