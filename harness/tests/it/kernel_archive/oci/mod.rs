//! Images in registries: on a server of the test, and in Debian's docker-registry, written by skopeo.

pub(crate) mod image;
mod layers;
pub(crate) mod registry;
mod tags;
mod tampering;
mod token;

use super::archive::Archive;
use image::Image;

/// The repository of most tests.
const REPOSITORY: &str = "cilium/ci-kernels";

/// A matrix without archives, and an image that the archive's server has under a tag.
fn serve(image: &Image, tag: &str) -> (Archive, String) {
    let archive = Archive::empty();
    image.serve(&archive.server, REPOSITORY, tag);
    let name = name(&archive, tag);
    (archive, name)
}

fn name(archive: &Archive, tag: &str) -> String {
    let registry = archive.server.url.strip_prefix("http://").unwrap();
    format!("oci:{registry}/{REPOSITORY}:{tag}")
}
