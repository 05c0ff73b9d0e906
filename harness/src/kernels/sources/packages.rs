//! Kernels that come in packages: which of them make one.

use serde::Deserialize;

/// Which packages make a kernel. `{abi}` in their names is what those of one kernel have in common.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Packages {
    /// Without these there is no kernel. The first decides which kernels there are.
    pub(crate) required: Vec<String>,
    /// Modules, where the kernel boots without them: archives drop them earlier than the image.
    #[serde(default)]
    pub(crate) optional: Vec<String>,
}

/// The architecture of the packages, unless it is given.
pub(crate) fn amd64() -> String {
    "amd64".to_owned()
}
