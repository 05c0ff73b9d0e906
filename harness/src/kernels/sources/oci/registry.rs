//! Asks a registry which layers an image has. Each step verifies the next: the digest of the index or manifest, that of
//! the manifest in the index, those of the configuration and the layers in the manifest.

use anyhow::{Context, Result, bail};
use oci_spec::image::{
    Arch, Descriptor, Digest, DigestAlgorithm, ImageIndex, ImageManifest, MediaType, Os,
    ToDockerV2S2,
};
use serde::Deserialize;
use serde_json::Value;

use super::image::Image;
use crate::kernels::download::http::{Client, Expected};
use crate::kernels::files::manifest::digest;
use crate::kernels::source::Artifact;
use crate::support::progress::Notes;

/// Limits for an index, manifest or configuration, for a layer, and for the number of layers.
const MAX_DOCUMENT: u64 = 4 << 20;
const MAX_LAYER: u64 = 4 << 30;
const MAX_LAYERS: usize = 256;

/// What a registry has under the name of an image.
pub(crate) struct Found {
    /// The layers, the lowest first.
    pub(crate) layers: Vec<Artifact>,
    /// What verifies their checksums.
    pub(crate) verified_by: String,
}

/// The part of a configuration that says where the image runs.
#[derive(Deserialize)]
struct Platform {
    architecture: Arch,
    os: Os,
}

/// Finds the layers of an image for x86-64.
pub(crate) fn find(client: &Client, image: &Image, notes: &Notes<'_>) -> Result<Found> {
    let registry = Registry {
        client,
        image,
        notes,
    };
    let name = match (&image.digest, image.tag()) {
        (Some(digest), _) => digest.clone(),
        (None, tag) => tag.unwrap_or_default().to_owned(),
    };
    let url = registry.manifest_url(&name);
    let mut bytes = client.get_as(&url, MAX_DOCUMENT, &accepted(), notes)?;
    let found = format!("sha256:{}", digest(&bytes));
    if let Some(pinned) = &image.digest
        && *pinned != found
    {
        bail!("{url}: its digest is {found}, but its name promises {pinned}: refused");
    }
    let mut document = json(&url, &bytes)?;
    if document.get("manifests").is_some() {
        let index: ImageIndex = typed(&url, document)?;
        let descriptor = for_this_platform(&index).with_context(|| url.clone())?;
        bytes = registry.document(
            &registry.manifest_url(descriptor.digest().as_ref()),
            descriptor,
        )?;
        document = json(&url, &bytes)?;
    }
    let context = || format!("{} ({found})", image.repository());
    let manifest: ImageManifest = typed(&url, document)?;
    registry.check_platform(&manifest).with_context(context)?;
    let version = match image.tag() {
        Some(tag) => format!("{tag}@{found}"),
        None => found.clone(),
    };
    let layers = registry.layers(&manifest, &version).with_context(context)?;
    let verified_by = match &image.digest {
        Some(digest) => format!("the digest {digest} in its name"),
        None => format!(
            "the digest {found} that {} has for its tag ({}, no signature)",
            image.repository(),
            image.transport()
        ),
    };
    Ok(Found {
        layers,
        verified_by,
    })
}

struct Registry<'a> {
    client: &'a Client,
    image: &'a Image,
    notes: &'a Notes<'a>,
}

impl Registry<'_> {
    fn manifest_url(&self, name: &str) -> String {
        format!("{}/manifests/{name}", self.image.url())
    }

    fn blob_url(&self, descriptor: &Descriptor) -> String {
        format!("{}/blobs/{}", self.image.url(), descriptor.digest())
    }

    /// A small file, verified by its descriptor.
    fn document(&self, url: &str, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let size = descriptor.size();
        if size > MAX_DOCUMENT {
            bail!("{url} has {size} bytes, more than the limit");
        }
        let expected = Expected {
            size: Some(size),
            sha256: sha256(descriptor)?,
            according_to: "the image",
        };
        let bytes = self.client.get_as(url, size, &accepted(), self.notes)?;
        expected.check_bytes(url, &bytes)?;
        Ok(bytes)
    }

    /// An index has the platform of each manifest, but an image need not have an index.
    fn check_platform(&self, manifest: &ImageManifest) -> Result<()> {
        let config = manifest.config();
        if !is(config.media_type(), &MediaType::ImageConfig) {
            bail!(
                "it is no container image: its configuration is of type {}",
                config.media_type()
            );
        }
        let url = self.blob_url(config);
        let bytes = self.document(&url, config)?;
        let Platform { architecture, os } =
            serde_json::from_slice(&bytes).with_context(|| format!("{url} is no configuration"))?;
        if (&architecture, &os) != (&Arch::Amd64, &Os::Linux) {
            bail!("the image is for {os}/{architecture}, not for linux/amd64");
        }
        Ok(())
    }

    fn layers(&self, manifest: &ImageManifest, version: &str) -> Result<Vec<Artifact>> {
        let count = manifest.layers().len();
        if count == 0 || count > MAX_LAYERS {
            bail!("it has {count} layers; from 1 to {MAX_LAYERS} are accepted");
        }
        let layer = |(i, descriptor): (usize, &Descriptor)| {
            let name = format!("layer {} of {}", i + 1, self.image.repository());
            let size = descriptor.size();
            if !is_layer(descriptor.media_type()) {
                bail!(
                    "{name} is of type {}, which is not supported",
                    descriptor.media_type()
                );
            }
            if size > MAX_LAYER {
                bail!("{name} has {size} bytes, more than the limit");
            }
            Ok(Artifact {
                package: name,
                version: version.to_owned(),
                path: self.blob_url(descriptor),
                size: Some(size),
                sha256: sha256(descriptor)?.to_owned(),
                url: None,
            })
        };
        manifest.layers().iter().enumerate().map(layer).collect()
    }
}

/// The types of documents that this reads, for the registry.
fn accepted() -> String {
    [MediaType::ImageIndex, MediaType::ImageManifest]
        .iter()
        .flat_map(|oci| [Some(oci.as_ref()), oci.to_docker_v2s2().ok()])
        .flatten()
        .collect::<Vec<_>>()
        .join(", ")
}

/// Whether it is this type, or Docker's older one for the same.
fn is(found: &MediaType, expected: &MediaType) -> bool {
    found == expected || expected.to_docker_v2s2().ok() == Some(found.as_ref())
}

/// Layers that the registry has, not ones that must come from elsewhere.
fn is_layer(found: &MediaType) -> bool {
    const DOCKER_PLAIN: &str = "application/vnd.docker.image.rootfs.diff.tar";
    const DOCKER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
    let plain = [MediaType::ImageLayer, MediaType::ImageLayerZstd];
    plain.contains(found)
        || is(found, &MediaType::ImageLayerGzip)
        || [DOCKER_PLAIN, DOCKER_ZSTD].contains(&found.as_ref())
}

fn for_this_platform(index: &ImageIndex) -> Result<&Descriptor> {
    let runs_here = |descriptor: &&Descriptor| {
        let platform = descriptor.platform().as_ref();
        platform.is_some_and(|p| (p.architecture(), p.os()) == (&Arch::Amd64, &Os::Linux))
    };
    if let Some(descriptor) = index.manifests().iter().find(runs_here) {
        return Ok(descriptor);
    }
    let platforms: Vec<_> = index
        .manifests()
        .iter()
        .filter_map(|descriptor| descriptor.platform().as_ref())
        .map(|platform| format!("{}/{}", platform.os(), platform.architecture()))
        .collect();
    bail!(
        "the image is not for linux/amd64, but for {}",
        platforms.join(", ")
    )
}

fn sha256(descriptor: &Descriptor) -> Result<&str> {
    let digest: &Digest = descriptor.digest();
    match digest.algorithm() {
        DigestAlgorithm::Sha256 => Ok(digest.digest()),
        other => bail!("a digest by {other} is not supported: {digest}"),
    }
}

/// A document of exactly one kind: one that is an index to some readers and a manifest to others is refused.
fn json(url: &str, bytes: &[u8]) -> Result<Value> {
    let document: Value =
        serde_json::from_slice(bytes).with_context(|| format!("{url} is not JSON"))?;
    let has = |field: &str| document.get(field).is_some();
    if has("manifests") && (has("layers") || has("config")) || has("fsLayers") {
        bail!("{url} is neither an index nor a manifest of schema 2: refused");
    }
    Ok(document)
}

fn typed<T: for<'de> Deserialize<'de>>(url: &str, document: Value) -> Result<T> {
    serde_json::from_value(document)
        .with_context(|| format!("{url} is not an image's index or manifest"))
}
