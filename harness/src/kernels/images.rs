//! Kernels from images in OCI registries.

use anyhow::{Result, bail};

use super::Kernels;
use crate::kernels::download::mirrors::{Why, first_good, is_unreachable};
use crate::kernels::source::{Artifact, Kind, Resolved, Source};
use crate::kernels::sources::oci::image::Image;
use crate::kernels::sources::oci::registry::{self, Found};
use crate::kernels::store::LOCK;
use crate::support::error::usage;
use crate::support::progress::Notes;

impl Kernels {
    /// The locked image; else what the registry has; else, if that is unreachable, the one that was used last.
    pub(super) fn resolve_image(
        &self,
        name: &str,
        image: &Image,
        notes: &Notes<'_>,
    ) -> Result<Resolved> {
        if let Some(locked) = self.locked_image(name, image, notes) {
            return Ok(locked);
        }
        let cached = match self.options.newest {
            true => None,
            // Under any name.
            false => self.cache.find(|entry| image.is(&entry.source)).pop(),
        };
        let cached = cached.map(|entry| entry.resolved(name));
        let (cached, why) = match cached {
            // A digest means the same image for ever.
            Some(cached) if image.digest.is_some() => return Ok(cached),
            Some(cached) if self.options.offline => {
                (cached, format!("--offline forbids to look up {name}"))
            }
            Some(cached) => match self.ask_image(name, image, notes) {
                Err(error) if is_unreachable(&error) => (cached, format!("{error:#}")),
                asked => return asked,
            },
            None => return self.ask_image(name, image, notes),
        };
        let version = &cached.source.package_version;
        notes.add(format!("{why}; using {version} from the cache"));
        Ok(cached)
    }

    /// Asks the registry.
    pub(super) fn ask_image(
        &self,
        name: &str,
        image: &Image,
        notes: &Notes<'_>,
    ) -> Result<Resolved> {
        if self.options.offline {
            bail!("{name} is neither locked nor in the cache, and --offline forbids the request");
        }
        let find = |_: &str| registry::find(&self.client, image, notes);
        let what = format!("the image {name} cannot be used");
        let Found {
            layers,
            verified_by,
        } = first_good(&what, &[image.url()], notes, find).map_err(|failed| match failed.why {
            Why::Gone => usage(failed.to_string()),
            _ => failed.into(),
        })?;
        Ok(resolved(name, image, layers, verified_by))
    }

    fn locked_image(&self, name: &str, image: &Image, notes: &Notes<'_>) -> Option<Resolved> {
        let locked = self.matrix.lock.find(name)?;
        if self.options.newest {
            return None;
        }
        if locked.source != image.repository() {
            notes.add(format!(
                "{LOCK} has {name} from {}, but it now comes from {}: run `harness kernels update {name}`",
                locked.source,
                image.repository()
            ));
            return None;
        }
        let verified_by = format!("{LOCK} ({})", locked.verified_by);
        let mut resolved = resolved(name, image, locked.artifacts(), verified_by);
        resolved.version.clone_from(&locked.version);
        Some(resolved)
    }
}

fn resolved(name: &str, image: &Image, layers: Vec<Artifact>, verified_by: String) -> Resolved {
    let package_version = layers.first().map(|layer| layer.version.clone());
    Resolved {
        requested: name.to_owned(),
        series: name.to_owned(),
        // Only the kernel in it has one.
        version: String::new(),
        source: Source {
            kind: Kind::Oci,
            name: image.repository(),
            package_version: package_version.unwrap_or_default(),
            artifacts: layers,
            verified_by,
            notes: Vec::new(),
            build: None,
        },
    }
}
