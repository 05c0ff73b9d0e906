//! Builds kernels for which no distribution has packages with fexit.
//!
//! Each source has a folder in the cache, named after its checksum, and in it each configuration has one. It stays until
//! the build has succeeded, so that an interrupted build continues; a file under its final name is complete.

mod checksum;
mod collect;
mod config;
mod context;
mod group;
mod inputs;
mod log;
mod make;
mod names;
mod options;
mod origin;
mod tools;
mod tree;
mod vendor;
mod workarounds;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

pub use context::Prove;
pub use options::BuildOptions;
pub use tools::Tools;

use self::context::BuildContext;
use self::inputs::Inputs;
use self::names::Names;
use self::origin::{Origin, SOURCE};
use super::cache::Lookup;
use super::{Kernel, Kernels};
use crate::support::progress::{Notes, Progress};
use crate::support::{atomic, error::usage, stop::Stop};

/// A kernel that is in the cache now.
#[derive(Clone, Debug)]
pub struct Built {
    /// The kernel.
    pub kernel: Kernel,
    /// An earlier command built it.
    pub was_there: bool,
    /// How long the build took, with the test.
    pub took: Duration,
}

impl Kernels {
    /// Builds a kernel, and adds it to the cache if `prove` succeeds.
    pub fn build(
        &self,
        options: &BuildOptions,
        tools: &Tools,
        stop: &Stop,
        progress: &dyn Progress,
        prove: Prove<'_>,
    ) -> Result<Built> {
        let started = Instant::now();
        let notes = Notes::new(progress);
        let inputs = Inputs::read(options, tools)?;
        let mut origin = Origin::find(self, options, stop, &notes)?;
        let source_dir = self.cache.build_dir(&origin.artifact)?;
        if source_dir.to_string_lossy().contains([' ', ':']) {
            return Err(usage(format!(
                "a kernel cannot be built in {}: the path contains a blank or a colon. Name another cache with --cache-dir",
                source_dir.display()
            )));
        }
        let _guard = self.cache.lock(&lock_name(&source_dir), || {
            progress.note("waiting for another harness that is building it");
        })?;
        let digest = inputs.digest();
        let dir = source_dir.join(&digest[..16]);
        if options.again {
            atomic::remove(&source_dir.join(SOURCE))?;
            atomic::remove(&dir)?;
        }

        let (version, tag) = match origin.release() {
            Some(version) => (version.to_owned(), None),
            None => {
                let tree = origin.tree(self, &source_dir, stop, &notes)?;
                (tree::version(&tree)?, vendor::tag(&tree)?)
            }
        };
        origin::check_version(options, &version)?;
        let name = options.name.as_deref().or(tag.as_deref());
        let names = Names::new(&self.matrix, &version, name)?;
        let before = self.built_before(&names, &origin, &digest);
        let (kernel, was_there) = match before {
            Ok(Some(kernel)) if !options.again => (kernel, true),
            Err(error) if !options.again => return Err(error),
            _ => {
                fs::create_dir_all(&dir)
                    .with_context(|| format!("cannot create {}", dir.display()))?;
                let tree = origin.tree(self, &source_dir, stop, &notes)?;
                let context = BuildContext::new(
                    self,
                    &inputs,
                    (options.jobs, stop),
                    &origin,
                    names,
                    &tree,
                    &dir,
                )?;
                (context.build(&tree, progress, prove)?, false)
            }
        };
        finish(&source_dir, &dir)?;
        Ok(Built {
            kernel,
            was_there,
            took: started.elapsed(),
        })
    }

    /// The kernel, if the cache has one of this release with the same inputs. An error if it has another one.
    fn built_before(&self, names: &Names, origin: &Origin, digest: &str) -> Result<Option<Kernel>> {
        for entry in self.cache.builds(&names.series, &names.release()) {
            let (artifact, build) = (entry.source.artifacts.first(), &entry.source.build);
            let is_same = build
                .as_ref()
                .is_some_and(|build| build.inputs_digest == digest)
                && artifact.is_some_and(|artifact| artifact.path == origin.artifact.path);
            if !is_same {
                return Err(usage(format!(
                    "the cache has {}, which was built from another source, with other options or by other tools: \
                     --again replaces it, --name NAME keeps both",
                    entry.release
                )));
            }
            let is_current = artifact.is_some_and(|a| a.sha256 == origin.artifact.sha256);
            let resolved = entry.resolved(&names.release());
            if is_current && let Lookup::Ready(kernel) = self.cache.lookup(&resolved, false)? {
                return Ok(Some(*kernel));
            }
        }
        Ok(None)
    }
}

fn lock_name(dir: &Path) -> String {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    format!("build-{name}")
}

/// Removes the folder of a finished build, and that of its source unless another configuration is unfinished.
fn finish(source_dir: &Path, dir: &Path) -> Result<()> {
    atomic::remove(dir)?;
    let entries = fs::read_dir(source_dir).into_iter().flatten().flatten();
    let mut names = entries.map(|entry| entry.file_name());
    if names.any(|name| name != SOURCE) {
        return Ok(());
    }
    atomic::remove(source_dir)
}
