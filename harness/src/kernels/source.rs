//! The source of a kernel, and what verified it. The report contains it unchanged.

use serde::{Deserialize, Serialize};

use crate::kernels::arch::Arch;
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

/// Whose source tree a kernel was built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tree {
    /// A release of kernel.org, mainline or stable. New features come with new releases only.
    Mainline,
    /// That of a vendor, who backports features to old releases.
    Vendor,
}

impl Tree {
    /// The tree that a release (`uname -r`) names, as `5.14.0-570.12.1.el9_6.x86_64`.
    fn of_release(release: &str) -> Self {
        /// Distributions, before a number.
        const DISTRIBUTIONS: [&str; 6] = ["el", "fc", "amzn", "azl", "cm", "android"];
        /// The kernels of Oracle, Ubuntu, SUSE, and Windows.
        const FLAVORS: [&str; 15] = [
            "uek",
            "generic",
            "lowlatency",
            "aws",
            "azure",
            "gcp",
            "gke",
            "ibm",
            "kvm",
            "nvidia",
            "oem",
            "oracle",
            "raspi",
            "default",
            "microsoft",
        ];
        let words: Vec<_> = release.split(['-', '.', '_', '+']).collect();
        // Ubuntu's builds of upstream releases: `6.6.0-060600-generic`.
        if words
            .iter()
            .any(|word| word.len() == 6 && word.starts_with('0'))
        {
            return Self::Mainline;
        }
        let is_distribution = |word: &str| {
            let rest = DISTRIBUTIONS
                .iter()
                .find_map(|name| word.strip_prefix(name));
            rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        let is_vendor = |word: &&str| FLAVORS.contains(word) || is_distribution(word);
        if words.iter().any(is_vendor) {
            Self::Vendor
        } else {
            Self::Mainline
        }
    }
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
    /// The vendor whose tree it is, as `el9.6`; none if no known vendor's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
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

    /// The architecture that its name says.
    pub fn arch(&self) -> Arch {
        Arch::of_name(&self.series)
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
    /// The tree that a kernel of this source and release was built from. Debian's kernels are stable releases.
    pub fn tree(&self, release: &str) -> Tree {
        match self.kind {
            Kind::Rpm => Tree::Vendor,
            Kind::UbuntuMainline => Tree::Mainline,
            Kind::Built if self.name == KERNEL_ORG => Tree::Mainline,
            Kind::Built if self.build.as_ref().is_some_and(|b| b.vendor.is_some()) => Tree::Vendor,
            Kind::Built
            | Kind::Debian
            | Kind::DebianSnapshot
            | Kind::Oci
            | Kind::Url
            | Kind::Local => Tree::of_release(release),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_names_the_tree() {
        for (release, tree) in [
            ("5.10.0-46-cloud-amd64", Tree::Mainline),
            ("6.12.117+deb13-cloud-amd64", Tree::Mainline),
            ("6.6.0-060600-generic", Tree::Mainline),
            ("7.3.0-rc2-00042-g1a2b3c4d5e6f", Tree::Mainline),
            ("6.1.192-built", Tree::Mainline),
            ("6.9.3-arch1-1", Tree::Mainline),
            ("5.14.0-el9.6-built", Tree::Vendor),
            ("4.18.0-553.el8_10.x86_64", Tree::Vendor),
            ("5.14.0-570.12.1.el9_6.x86_64", Tree::Vendor),
            ("5.15.0-300.163.18.el9uek.x86_64", Tree::Vendor),
            ("6.17.1-300.fc43.x86_64", Tree::Vendor),
            ("6.1.109-118.189.amzn2023.x86_64", Tree::Vendor),
            ("5.15.0-164-generic", Tree::Vendor),
            ("6.8.0-1021-aws", Tree::Vendor),
            ("6.4.0-150600.21-default", Tree::Vendor),
            ("5.15.167.4-microsoft-standard-WSL2", Tree::Vendor),
        ] {
            assert_eq!(Tree::of_release(release), tree, "{release}");
        }
    }
}
