//! The packages of a kernel.

use serde::Deserialize;

/// The packages of a kernel. `{abi}` is the part that is equal in the names of all packages of one kernel.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Packages {
    /// The packages that every kernel has. There is a kernel for each version of the first.
    pub(crate) required: Vec<String>,
    /// Packages of modules that an archive may remove earlier than the image; the kernel boots without them.
    #[serde(default)]
    pub(crate) optional: Vec<String>,
}

/// The default architecture of packages.
pub(crate) fn amd64() -> String {
    "amd64".to_owned()
}
