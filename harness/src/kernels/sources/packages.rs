//! The packages of a kernel.

use serde::Deserialize;

use crate::kernels::arch::Arch;
use crate::kernels::source::Artifact;

/// The packages of a kernel. `{abi}` is the part that is equal in the names of all packages of one kernel, `{arch}` the
/// architecture.
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
    /// Those of an architecture, by Debian's name for it.
    pub(crate) fn of(&self, arch: Arch) -> Self {
        let of_arch = |names: &[String]| {
            let names = names.iter();
            names
                .map(|name| name.replace("{arch}", arch.debian()))
                .collect()
        };
        Self {
            required: of_arch(&self.required),
            optional: of_arch(&self.optional),
        }
    }

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
