//! Where a kernel came from, and what vouches for it. Goes into the report as it is.

use serde::{Deserialize, Serialize};

use crate::kernels::version;

/// The name of a source that is kernel.org's.
pub(crate) const KERNEL_ORG: &str = "kernel.org";

/// What `uname -r` of a kernel that was built here ends with.
pub(crate) const BUILT: &str = "-built";

/// One file to download.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// The package's name, or the file's.
    pub package: String,
    /// The package's version.
    pub version: String,
    /// Where it is: relative to the base of its archive, or an address of its own.
    pub path: String,
    /// In bytes; absent where the source does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Lower-case hexadecimal.
    pub sha256: String,
    /// Where it was downloaded from; absent until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// The kind of place a kernel came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A Debian archive.
    Debian,
    /// Debian's archive of everything that its archives ever held.
    DebianSnapshot,
    /// Ubuntu's builds of upstream releases.
    UbuntuMainline,
    /// A file at an address, whose checksum was given.
    Url,
    /// Built here.
    Built,
    /// A file of the user's own.
    Local,
}

/// Where a kernel came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The kind of place.
    pub kind: Kind,
    /// Its name in the matrix, as `bookworm-security`; of a kernel that was built here, whose source it is.
    pub name: String,
    /// The version of its packages, as `6.1.192-2`.
    pub package_version: String,
    /// What was downloaded.
    pub artifacts: Vec<Artifact>,
    /// What vouches for the checksums: a signature, or the lock file.
    pub verified_by: String,
    /// What was out of the ordinary, as a mirror that failed or a version that has left its archive.
    pub notes: Vec<String>,
    /// How it was built, if that was done here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<Build>,
}

/// How a kernel was built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// A checksum of the fields below except `proof`, and of the requested configuration. Stored as `recipe`.
    #[serde(rename = "recipe")]
    pub inputs_digest: String,
    /// As `gcc (Debian 12.2.0-14) 12.2.0`.
    pub compiler: String,
    /// As `GNU ld (GNU Binutils for Debian) 2.40`.
    pub linker: String,
    /// As `v1.24`.
    pub pahole: String,
    /// The variables that `make` was given.
    pub make: Vec<String>,
    /// The arguments that pahole was given besides the kernel's own.
    pub pahole_flags: Vec<String>,
    /// What this kernel needed beside present-day tools, and why.
    pub workarounds: Vec<String>,
    /// The scenarios that were ok in it before it was put into the cache, each with its outcome.
    pub proof: Vec<String>,
}

impl Build {
    /// Whether all that was seen in it is that it refuses fexit as it should: the lower side of its minimum.
    pub fn is_lower_side(&self) -> bool {
        !self.proof.is_empty() && self.proof.iter().all(|line| line.ends_with(" unsupported"))
    }
}

/// A kernel that is known to the last bit, but not necessarily here yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// What the user asked for.
    pub requested: String,
    /// The series it belongs to.
    pub series: String,
    /// The upstream version, as `5.10.262`.
    pub version: String,
    /// Where it comes from.
    pub source: Source,
}

impl Resolved {
    /// Whether any version of the series would do.
    pub(crate) fn any_of_series(&self) -> bool {
        self.requested == self.series
    }

    /// The number of bytes to download if it is not in the cache, where that is known.
    pub fn size(&self) -> Option<u64> {
        self.source
            .artifacts
            .iter()
            .map(|artifact| artifact.size)
            .sum()
    }
}

impl Source {
    /// Whether this is an upstream release, to which no distribution has backported anything. Of a kernel of the
    /// user's own, or of a source of theirs, nobody knows.
    pub fn is_upstream(&self) -> bool {
        match self.kind {
            Kind::UbuntuMainline | Kind::Url => true,
            Kind::Built => self.name == KERNEL_ORG,
            Kind::Debian | Kind::DebianSnapshot | Kind::Local => false,
        }
    }

    /// Whether `exact` means this kernel: an upstream version (`5.10.262`), a package version (`5.10.262-1`) or the
    /// release that the packages are named after (`5.10.0-46`).
    pub(crate) fn is(&self, exact: &str) -> bool {
        let Some(first) = self.artifacts.first() else {
            return false;
        };
        let in_name = |name: &str| {
            name.match_indices(exact)
                .any(|(at, _)| bounded(name, at, exact.len()))
        };
        exact == first.version
            || exact == version::upstream(&first.version)
            || in_name(&first.package)
    }
}

/// Whether a part of a package's name stands between dashes.
fn bounded(name: &str, at: usize, len: usize) -> bool {
    name[..at].ends_with('-') && name[at + len..].starts_with('-')
}

/// Whether it is a SHA-256 in hexadecimal.
pub(crate) fn is_sha256(s: &str) -> bool {
    s.len() == 64 && s.bytes().all(|b| b.is_ascii_hexdigit())
}
