//! Where the source of a build comes from.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fexit::KernelVersion;

use super::{checksum, tree};
use crate::kernels::Kernels;
use crate::kernels::download::http::Expected;
use crate::kernels::download::mirrors::first_good;
use crate::kernels::files::manifest::hash_file;
use crate::kernels::source::{Artifact, OWN_SOURCE};
use crate::kernels::sources::kernel_org::{self, Release};
use crate::kernels::{build::options::BuildOptions, source::KERNEL_ORG};
use crate::support::error::usage;
use crate::support::progress::Notes;
use crate::support::stop::Stop;

/// The source of one kernel, with its checksum.
pub(super) struct Origin {
    pub(super) artifact: Artifact,
    pub(super) verified_by: String,
    place: Place,
}

enum Place {
    /// Download it from one of these.
    Mirrors(Vec<String>),
    Tarball(PathBuf),
    Tree(PathBuf),
}

/// The folder of an unpacked source.
pub(super) const SOURCE: &str = "source";

const LOCAL: &str = "nothing: it is the user's own";

impl Origin {
    /// Finds the source.
    pub(super) fn find(
        kernels: &Kernels,
        options: &BuildOptions,
        stop: &Stop,
        notes: &Notes<'_>,
    ) -> Result<Self> {
        match (&options.source, &options.kernel) {
            (None, None) => Err(usage("name a kernel to build (5.5) or its --source")),
            (None, Some(requested)) => Self::of_kernel_org(kernels, requested, notes),
            (Some(path), _) if path.is_dir() => {
                if !tree::is_tree(path) {
                    return Err(usage(format!(
                        "--source {}: this is not a kernel source tree",
                        path.display()
                    )));
                }
                tree::check_clean(path)?;
                let path = std::path::absolute(path)?;
                // Before the slow part, and before a wait for another harness.
                check_version(options, &tree::version(&path)?)?;
                notes.progress.step("reading the source");
                let sha256 = checksum::of_tree(&path, stop)?;
                Ok(Self::own(&path, sha256, Place::Tree(path.clone())))
            }
            (Some(path), _) => {
                let sha256 = hash_file(path).map_err(|e| {
                    usage(format!("--source {} cannot be read: {e}", path.display()))
                })?;
                Ok(Self::own(path, sha256, Place::Tarball(path.to_owned())))
            }
        }
    }

    /// The name of the source.
    pub(super) fn name(&self) -> &'static str {
        match self.place {
            Place::Mirrors(_) => KERNEL_ORG,
            Place::Tarball(_) | Place::Tree(_) => OWN_SOURCE,
        }
    }

    /// The version of a release of kernel.org, which is known before the download.
    pub(super) fn release(&self) -> Option<&str> {
        match self.artifact.version.as_str() {
            "" => None,
            version => Some(version),
        }
    }

    fn of_kernel_org(kernels: &Kernels, requested: &str, notes: &Notes<'_>) -> Result<Self> {
        let releases = kernels.matrix.releases().ok_or_else(|| {
            usage("no source of kernels.toml has the kind kernel-org: build from --source")
        })?;
        if !requested.starts_with(|c: char| c.is_ascii_digit()) || requested.contains('/') {
            return Err(usage(format!(
                "{requested:?} cannot be built: name a series (5.5) or a release (5.5.19)"
            )));
        }
        let net = (&kernels.cache, &kernels.client, kernels.options.offline);
        let Release {
            artifact,
            verified_by,
        } = kernel_org::find(net, releases, requested, notes)?;
        Ok(Self {
            artifact,
            verified_by,
            place: Place::Mirrors(releases.mirrors.clone()),
        })
    }

    fn own(path: &Path, sha256: String, place: Place) -> Self {
        let name = path.file_name().unwrap_or(path.as_os_str());
        Self {
            artifact: Artifact {
                package: name.to_string_lossy().into_owned(),
                // Its Makefile has the version.
                version: String::new(),
                path: path.display().to_string(),
                size: None,
                sha256,
                url: None,
            },
            verified_by: LOCAL.to_owned(),
            place,
        }
    }

    /// The source tree. Unpacks it below `dir` unless an earlier build did.
    pub(super) fn tree(
        &mut self,
        kernels: &Kernels,
        dir: &Path,
        stop: &Stop,
        notes: &Notes<'_>,
    ) -> Result<PathBuf> {
        let tree = dir.join(SOURCE);
        let tarball = match &self.place {
            Place::Tree(path) => return Ok(path.clone()),
            _ if tree.exists() => return Ok(tree),
            Place::Tarball(path) => path.clone(),
            Place::Mirrors(mirrors) => {
                let path = dir.join("source.tar.partial");
                let url = self.download(kernels, mirrors, &path, notes)?;
                self.artifact.url = Some(url);
                path
            }
        };
        notes.progress.note("unpacking the source");
        tree::unpack_into(&tarball, &tree, stop)?;
        if let Place::Mirrors(_) = self.place {
            std::fs::remove_file(&tarball)
                .with_context(|| format!("cannot remove {}", tarball.display()))?;
        }
        Ok(tree)
    }

    fn download(
        &self,
        kernels: &Kernels,
        mirrors: &[String],
        path: &Path,
        notes: &Notes<'_>,
    ) -> Result<String> {
        let Artifact {
            package,
            path: below,
            sha256,
            ..
        } = &self.artifact;
        if kernels.options.offline {
            bail!("{package} is not in the cache, and --offline forbids the download");
        }
        let expected = Expected {
            size: None,
            sha256,
            according_to: &self.verified_by,
        };
        let what = format!("{package} cannot be downloaded");
        let url = first_good(&what, mirrors, notes, |base| {
            let url = format!("{base}/{below}");
            kernels.client.download(&url, expected, path, notes)?;
            Ok(url)
        })?;
        Ok(url)
    }
}

/// Refuses a --source whose version is not the one that the user named.
pub(super) fn check_version(options: &BuildOptions, version: &str) -> Result<()> {
    let series = version.parse::<KernelVersion>()?.series().to_string();
    match (&options.source, &options.kernel) {
        (Some(source), Some(requested)) if *requested != version && *requested != series => {
            Err(usage(format!(
                "--source {} is Linux {version}, not {requested}",
                source.display()
            )))
        }
        _ => Ok(()),
    }
}
