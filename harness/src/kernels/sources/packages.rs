//! The packages of a kernel.

use serde::Deserialize;

use crate::kernels::source::Artifact;

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

impl Packages {
    /// Whether `artifacts` are all of them.
    pub(crate) fn is_complete(&self, artifacts: &[Artifact]) -> bool {
        artifacts.len() == self.required.len() + self.optional.len()
    }
}

/// The part of a package name that matches `{abi}` in the pattern.
pub(crate) fn abi<'a>(pattern: &str, package: &'a str) -> Option<&'a str> {
    let (prefix, suffix) = pattern.split_once("{abi}")?;
    package.strip_prefix(prefix)?.strip_suffix(suffix)
}

/// The default architecture of packages.
pub(crate) fn amd64() -> String {
    "amd64".to_owned()
}
