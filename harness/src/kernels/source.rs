//! The source of a kernel, and what verified it. The report contains it unchanged.

use serde::{Deserialize, Serialize};

use crate::kernels::version;

/// The name of the source kernel.org.
pub(crate) const KERNEL_ORG: &str = "kernel.org";

/// The source, as in `kernels.toml`, of kernels that the harness built from the user's own source.
pub(crate) const OWN_SOURCE: &str = "own source";

/// The end of `uname -r` of a kernel that the harness built.
pub(crate) const BUILT: &str = "-built";

/// One file to download.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// The name of the package or file.
    pub package: String,
    /// The package's version.
    pub version: String,
    /// Its path below the base of the archive, or its URL.
    pub path: String,
    /// In bytes; absent if the source does not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Lower-case hexadecimal.
    pub sha256: String,
    /// The URL that it was downloaded from; absent until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// The kind of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A Debian archive.
    Debian,
    /// An RPM repository.
    Rpm,
    /// Debian's archive of all earlier packages.
    DebianSnapshot,
    /// Ubuntu's builds of upstream releases.
    UbuntuMainline,
    /// An image in a registry.
    Oci,
    /// A URL with a checksum.
    Url,
    /// Built by the harness.
    Built,
    /// A local file of the user.
    Local,
}

/// The source of a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its kind.
    pub kind: Kind,
    /// Its name in the matrix, as `bookworm-security`; for a build, where the source code comes from.
    pub name: String,
    /// The version of its packages, as `6.1.192-2`.
    pub package_version: String,
    /// The downloaded files.
    pub artifacts: Vec<Artifact>,
    /// What verified the checksums: a signature or the lock file.
    pub verified_by: String,
    /// Notes, as a mirror that failed or a version that its archive no longer has.
    pub notes: Vec<String>,
    /// How it was built, if the harness built it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<Build>,
}

/// How a kernel was built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// A checksum of the tools, the requested configuration and the user's variables for `make`. Stored as `recipe`.
    #[serde(rename = "recipe")]
    pub inputs_digest: String,
    /// As `gcc (Debian 12.2.0-14) 12.2.0`.
    pub compiler: String,
    /// As `GNU ld (GNU Binutils for Debian) 2.40`.
    pub linker: String,
    /// As `v1.24`.
    pub pahole: String,
    /// The configuration that it started from, if not the kernel's defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_config: Option<String>,
    /// The variables for `make`.
    pub make: Vec<String>,
    /// The arguments for pahole in addition to the kernel's own.
    pub pahole_flags: Vec<String>,
    /// The workarounds that this kernel needs with present tools, and why.
    pub workarounds: Vec<String>,
    /// The scenarios that tested it before it was added to the cache, each with its outcome.
    pub proof: Vec<String>,
}

impl Build {
    /// Whether all scenarios were `unsupported`: this kernel is below the minimum of fexit.
    pub fn is_lower_side(&self) -> bool {
        !self.proof.is_empty() && self.proof.iter().all(|line| line.ends_with(" unsupported"))
    }
}

/// A kernel with the checksums of its files, which need not be in the cache yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The name that the user gave.
    pub requested: String,
    /// The series it belongs to.
    pub series: String,
    /// The upstream version, as `5.10.262`.
    pub version: String,
    /// Its source.
    pub source: Source,
}

impl Resolved {
    /// The command that builds it again, if the harness built it.
    pub(crate) fn build_command(&self) -> String {
        let (source, artifact) = (&self.source, self.source.artifacts.first());
        let what = match artifact {
            Some(artifact) if source.name == OWN_SOURCE => format!("--source {}", artifact.path),
            _ => self.version.clone(),
        };
        let name = if self.series.starts_with(|c: char| c.is_ascii_digit()) {
            String::new()
        } else {
            format!(" --name {}", self.series)
        };
        format!("harness kernels build {what}{name}")
    }

    /// Whether the user asked for any version of the series.
    pub(crate) fn any_of_series(&self) -> bool {
        self.requested == self.series
    }

    /// The size of the download in bytes, if known.
    pub fn size(&self) -> Option<u64> {
        self.source
            .artifacts
            .iter()
            .map(|artifact| artifact.size)
            .sum()
    }
}

impl Source {
    /// Whether this is an upstream release without backports of a distribution. A local kernel or source counts as none,
    /// since it is unknown.
    pub fn is_upstream(&self) -> bool {
        match self.kind {
            Kind::UbuntuMainline | Kind::Url => true,
            Kind::Built => self.name == KERNEL_ORG,
            Kind::Debian | Kind::DebianSnapshot | Kind::Rpm | Kind::Oci | Kind::Local => false,
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

/// Whether this part of a package's name is between dashes.
fn bounded(name: &str, at: usize, len: usize) -> bool {
    name[..at].ends_with('-') && name[at + len..].starts_with('-')
}

/// Whether it is a SHA-256 in hexadecimal.
pub(crate) fn is_sha256(s: &str) -> bool {
    s.len() == 64 && s.bytes().all(|b| b.is_ascii_hexdigit())
}
