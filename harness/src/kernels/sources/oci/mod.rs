//! Images in OCI registries: from a name to the checksums of layers, and from layers to the files of a kernel.

pub(crate) mod image;
pub(crate) mod layers;
pub(crate) mod registry;
