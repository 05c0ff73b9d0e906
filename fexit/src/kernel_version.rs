//! Kernel versions, to name in errors and documentation.

use std::fmt;
use std::str::FromStr;

use crate::sys;

/// An upstream kernel version.
///
/// The library never decides by it, because distributions backport features. Errors name the version that has a
/// feature.
///
/// ```
/// use fexit::KernelVersion;
/// let debian: KernelVersion = "5.10.0-46-cloud-amd64".parse().unwrap();
/// assert!(debian >= KernelVersion::new(5, 5, 0));
/// assert_eq!(KernelVersion::new(5, 19, 0).to_string(), "5.19");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelVersion {
    /// `5` of 5.10.262.
    pub major: u16,
    /// `10` of 5.10.262.
    pub minor: u16,
    /// `262` of 5.10.262; many distributions leave it 0 in `uname -r`.
    pub patch: u16,
}

impl KernelVersion {
    /// The version `major.minor.patch`.
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self {
            major,
            minor,
            patch,
        }
    }

    /// The running kernel's, from `uname -r`; 0.0 when that does not begin with a version.
    pub fn current() -> Self {
        sys::kernel_release().parse().unwrap_or(Self::new(0, 0, 0))
    }

    /// The running kernel's, with the patch level. Debian and Ubuntu do not have it in `uname -r`, but in other files.
    pub(crate) fn exact() -> Self {
        let read = |path| sys::read_kernel_file(path).unwrap_or_default();
        let ubuntu = read("/proc/version_signature");
        let debian = read("/proc/sys/kernel/version");
        exact(&ubuntu, &debian).unwrap_or_else(Self::current)
    }

    /// `KERNEL_VERSION` of include/linux/version.h, in which the patch level is 255 at most.
    pub(crate) fn code(self) -> u32 {
        let patch = u32::from(self.patch).min(255);
        u32::from(self.major) << 16 | u32::from(self.minor) << 8 | patch
    }

    /// Without the patch level.
    pub const fn series(self) -> Self {
        Self::new(self.major, self.minor, 0)
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        if self.patch != 0 {
            write!(f, ".{}", self.patch)?;
        }
        Ok(())
    }
}

/// The text does not begin with a version like `5.10` or `5.10.262`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` does not begin with a kernel version such as 5.10 or 5.10.262")]
pub struct ParseKernelVersionError(String);

impl FromStr for KernelVersion {
    type Err = ParseKernelVersionError;

    /// Reads the version that `release` begins with: `5.10`, `5.10.262`, `6.12.0-rc3`, `5.10.0-46-cloud-amd64`.
    fn from_str(release: &str) -> Result<Self, Self::Err> {
        let error = || ParseKernelVersionError(release.to_owned());
        let end = release
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(release.len());
        let mut parts = release[..end].split('.').map(str::parse);
        let mut next = || parts.next().transpose().map_err(|_| error());
        let major = next()?.ok_or_else(error)?;
        let minor = next()?.ok_or_else(error)?;
        let patch = next().ok().flatten().unwrap_or(0);
        Ok(Self {
            major,
            minor,
            patch,
        })
    }
}

/// The version in `/proc/version_signature` of Ubuntu or `/proc/sys/kernel/version` of Debian.
fn exact(ubuntu: &str, debian: &str) -> Option<KernelVersion> {
    let ubuntu = ubuntu.strip_prefix("Ubuntu ");
    let ubuntu = ubuntu.and_then(|text| text.split_whitespace().nth(1));
    let debian = debian.split_once("Debian ").map(|(_, version)| version);
    ubuntu.or(debian)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_uname_prints() {
        for (release, version) in [
            ("5.5", (5, 5, 0)),
            ("5.5.0-rc5+", (5, 5, 0)),
            ("5.10.0-46-cloud-amd64", (5, 10, 0)),
            ("6.12.117+deb13-cloud-amd64", (6, 12, 117)),
            ("7.3.4", (7, 3, 4)),
            ("6.1.", (6, 1, 0)),
        ] {
            let (major, minor, patch) = version;
            assert_eq!(
                release.parse(),
                Ok(KernelVersion::new(major, minor, patch)),
                "{release}"
            );
        }
        for bad in ["", "5", "five.ten", "5.x", "-5.10", "5..1", "99999.1"] {
            assert!(bad.parse::<KernelVersion>().is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_are_ordered_by_number() {
        assert!(KernelVersion::new(5, 9, 16) < KernelVersion::new(5, 10, 0));
    }

    #[test]
    fn distributions_say_elsewhere_which_release_it_is() {
        let debian = "#1 SMP PREEMPT_DYNAMIC Debian 5.10.262-1~x (2026-01-01)\n";
        let ubuntu = "Ubuntu 5.15.0-91.101-generic 5.15.131\n";
        assert_eq!(exact("", debian), Some(KernelVersion::new(5, 10, 262)));
        assert_eq!(
            exact(ubuntu, "#101-Ubuntu"),
            Some(KernelVersion::new(5, 15, 131))
        );
        assert_eq!(exact("", "#1 SMP Mon Jan 1"), None);
        let kernel = sys::fake::kernel(|_| None);
        *kernel.release.borrow_mut() = "5.10.0-46-amd64".to_owned();
        assert_eq!(KernelVersion::exact(), KernelVersion::new(5, 10, 0));
        kernel.file("/proc/sys/kernel/version", debian);
        assert_eq!(KernelVersion::exact(), KernelVersion::new(5, 10, 262));
        kernel.file("/proc/version_signature", ubuntu);
        assert_eq!(KernelVersion::exact(), KernelVersion::new(5, 15, 131));
        assert_eq!(KernelVersion::new(5, 10, 262).code(), 0x0005_0aff);
        assert_eq!(KernelVersion::new(6, 1, 3).code(), 0x0006_0103);
    }
}
