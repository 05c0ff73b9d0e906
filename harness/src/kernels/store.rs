//! The known kernels, and the cache of downloaded ones.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::Result;
use clap::Args;

use super::cache::{Cache, Entry};
use crate::kernels::arch::Arch;
use crate::kernels::catalog::matrix::{Matrix, Series, Source as Origin};
use crate::kernels::catalog::request::{self, Request};
use crate::kernels::download::http::Client;
use crate::kernels::download::mirrors::is_unreachable;
use crate::kernels::download::retry::Patience;
use crate::kernels::source::{Kind, Resolved};
use crate::kernels::sources::url::{self, Files};
use crate::kernels::{sources::index::Index, version};
use crate::support::error::usage;
use crate::support::progress::{Notes, Progress};

pub(super) const LOCK: &str = "kernels.lock";

/// Which kernels there are, and where they are kept.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Where kernels come from")]
pub struct Options {
    /// Where to keep kernels [default: fexit-harness in the user's cache directory]
    #[arg(long, value_name = "DIR", env = "HARNESS_CACHE_DIR")]
    pub cache_dir: Option<PathBuf>,

    /// Take kernels from this file, made like kernels/kernels.toml, instead of the built-in ones
    #[arg(long, value_name = "FILE")]
    pub matrix: Option<PathBuf>,

    /// Use kernels of this architecture, x86_64 or arm64, or of both [default: that of this machine]
    #[arg(
        long,
        value_enum,
        value_name = "ARCH",
        value_delimiter = ',',
        hide_possible_values = true
    )]
    pub arch: Vec<Arch>,

    /// Take the newest kernel of a series that its archive has, not the one that is locked
    #[arg(long)]
    pub newest: bool,

    /// Use only what the cache holds
    #[arg(long, conflicts_with = "newest")]
    pub offline: bool,

    /// How long to wait for servers.
    #[arg(skip)]
    pub patience: Patience,
}

impl Options {
    /// The architectures of kernels whose names have none.
    pub(crate) fn arches(&self) -> &[Arch] {
        const HOST: &[Arch] = &[Arch::host()];
        match self.arch.as_slice() {
            [] => HOST,
            arches => arches,
        }
    }
}

/// The known kernels.
#[derive(Debug)]
pub struct Kernels {
    pub(super) options: Options,
    pub(super) matrix: Matrix,
    pub(super) cache: Cache,
    pub(super) client: Client,
    /// The indices by archive, which several series share, and whether each was refreshed.
    pub(super) indices: Mutex<HashMap<String, (bool, Arc<Index>)>>,
}

impl Kernels {
    /// Reads the matrix, and which kernels were built. Neither touches the network nor writes anything.
    pub fn open(options: Options) -> Result<Self> {
        let mut matrix = match &options.matrix {
            Some(path) => Matrix::read(path)?,
            None => Matrix::built_in()?,
        };
        let cache = Cache::new(options.cache_dir.clone())?;
        let built = cache.find(|entry| entry.source.kind == Kind::Built);
        matrix.add_built(built.into_iter().map(|entry| entry.series));
        Ok(Self {
            cache,
            client: Client::new(options.patience.clone()),
            indices: Mutex::default(),
            matrix,
            options,
        })
    }

    /// The cache folder.
    pub fn cache_dir(&self) -> &Path {
        self.cache.root()
    }

    /// The kernels of `kernels.toml`.
    pub(super) fn matrix(&self) -> &Matrix {
        &self.matrix
    }

    /// Expands lists, `all`, `latest`, `built` and patterns to one name per kernel.
    pub fn expand(&self, requests: &[String]) -> Result<Vec<String>> {
        let mut words = Vec::new();
        for word in requests.iter().flat_map(|request| request.split(',')) {
            match word.trim() {
                "built" => words.extend(self.built_here()?),
                word => words.push(word.to_owned()),
            }
        }
        let versions = if words.iter().any(|word| word.contains(['*', '?'])) {
            self.versions()
        } else {
            Vec::new()
        };
        request::expand(&self.matrix, &versions, self.arches(), &words)
    }

    /// See [`Options::arches`].
    pub(super) fn arches(&self) -> &[Arch] {
        self.options.arches()
    }

    /// The exact versions that are known without the network: locked, cached or built.
    fn versions(&self) -> Vec<String> {
        let mut versions = Vec::new();
        for series in self.matrix.series() {
            let locked = self.matrix.lock.find(&series.name);
            versions.extend(locked.map(|locked| series.arch.qualify(&locked.version)));
            for entry in self.cache.entries(&series.name) {
                versions.push(match entry.source.kind {
                    Kind::Built => entry.release,
                    _ => series.arch.qualify(&entry.version),
                });
            }
        }
        versions
    }

    /// The releases of all kernels that the harness built, the oldest series first.
    fn built_here(&self) -> Result<Vec<String>> {
        let mut releases = Vec::new();
        for series in self.matrix.series() {
            let built = self.built_of(series).into_iter();
            releases.extend(built.map(|entry| entry.release));
        }
        if releases.is_empty() {
            return Err(usage(
                "the cache has no kernel that the harness built: `harness kernels build 5.5` builds one",
            ));
        }
        Ok(releases)
    }

    /// Finds the kernel of this name, and the checksums of its files.
    pub fn resolve(&self, request: &str, progress: &dyn Progress) -> Result<Resolved> {
        if url::is_url(request) {
            let files = vec![url::parse(request)?];
            return Ok(Files { files }.resolve(request, None));
        }
        let notes = Notes::new(progress);
        let mut resolved = match self.matrix.image(request)? {
            Some(image) => self.resolve_image(request, &image, &notes)?,
            None => self.resolve_series(Request::parse(&self.matrix, request)?, &notes)?,
        };
        resolved.source.notes = notes.take();
        Ok(resolved)
    }

    fn resolve_series(&self, request: Request<'_>, notes: &Notes<'_>) -> Result<Resolved> {
        let resolved = match self.locked(request, notes)? {
            Some(resolved) => resolved,
            None => match self.built(request).or_else(|| self.cached(request)) {
                Some(resolved) => resolved,
                None => self.ask_or_cached(request, notes)?,
            },
        };
        self.note_missing(&resolved, notes)?;
        Ok(resolved)
    }

    /// The locked kernel, if the request is for its series or for exactly its version.
    fn locked(&self, request: Request<'_>, notes: &Notes<'_>) -> Result<Option<Resolved>> {
        let Request { series, exact, .. } = request;
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
        let kind = match locked.kind {
            Some(kind) => kind,
            None => self.kind(series)?,
        };
        let verified_by = format!("{LOCK} ({})", locked.verified_by);
        let mut resolved = request.resolved(kind, locked.artifacts(), &verified_by);
        resolved.version.clone_from(&locked.version);
        let matches = match exact {
            Some(exact) => resolved.source.is(exact),
            None => !self.options.newest,
        };
        Ok(matches.then_some(resolved))
    }

    /// Asks the source. If it is unreachable, a cached kernel answers a request for a series.
    fn ask_or_cached(&self, request: Request<'_>, notes: &Notes<'_>) -> Result<Resolved> {
        let Request { series, exact, .. } = request;
        let error = match self.ask(request, notes) {
            Err(error) => error,
            found => return found,
        };
        let unreachable = is_unreachable(&error) || self.options.offline;
        if exact.is_some() || self.options.newest || !unreachable {
            return Err(error);
        }
        match self.newest_cached(&series.name)? {
            Some(cached) if cached.source.name == series.source => {
                notes.add(format!(
                    "{error:#}; using {} from the cache",
                    cached.source.package_version
                ));
                Ok(cached)
            }
            _ => Err(error),
        }
    }

    /// A kernel that the harness built: the newest of its series, or the one with this version (`5.5.19`) or release
    /// (`5.5.19-built`).
    fn built(&self, request: Request<'_>) -> Option<Resolved> {
        if request.exact.is_none() && self.options.newest {
            return None;
        }
        let mut entries = self.built_of(request.series).into_iter();
        let found = entries.find(|entry| match request.exact {
            Some(exact) => exact == entry.version || exact == entry.release,
            None => true,
        });
        found.map(|entry| entry.resolved(request.text))
    }

    /// All kernels of a series that the harness built, the newest first.
    pub(super) fn built_of(&self, series: &Series) -> Vec<Entry> {
        let mut entries = self.cache.entries(&series.name);
        entries.retain(|entry| entry.source.kind == Kind::Built);
        entries.sort_by(|a, b| version::compare(&b.version, &a.version));
        entries
    }

    /// A cached kernel with this exact version. It was verified before, so it needs no network.
    fn cached(&self, request: Request<'_>) -> Option<Resolved> {
        let exact = request.exact?;
        let series = request.series;
        let mut entries = self.cache.entries(&series.name).into_iter();
        let found =
            entries.find(|entry| entry.source.name == series.source && entry.source.is(exact));
        found.map(|entry| entry.resolved(request.text))
    }

    /// The newest kernel of a series in its archive, or the image that a tag means now.
    pub(super) fn newest(&self, name: &str, progress: &dyn Progress) -> Result<Resolved> {
        let notes = Notes::new(progress);
        match self.matrix.image(name)? {
            Some(image) => self.ask_image(name, &image, &notes),
            None => self.ask(Request::parse(&self.matrix, name)?, &notes),
        }
    }

    fn kind(&self, series: &Series) -> Result<Kind> {
        Ok(match self.matrix.source(series)? {
            Origin::Debian(_) => Kind::Debian,
            Origin::Rpm(_) => Kind::Rpm,
            Origin::UbuntuMainline(_) => Kind::UbuntuMainline,
            Origin::KernelOrg(_) | Origin::Own => Kind::Built,
            Origin::Url(_) => Kind::Url,
        })
    }
}
