//! Comparing kernel versions.

pub use self::temporary::KernelVersion;

mod temporary {
    use std::{fmt, str::FromStr};

    /// `major.minor.patch`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub struct KernelVersion {
        /// 5 in 5.10.262.
        pub major: u32,
        /// 10 in 5.10.262.
        pub minor: u32,
        /// 262 in 5.10.262.
        pub patch: u32,
    }

    impl FromStr for KernelVersion {
        type Err = String;
        fn from_str(s: &str) -> Result<Self, String> {
            let mut parts = s.split(|c: char| !c.is_ascii_digit()).map(str::parse);
            let mut next = || parts.next().and_then(Result::ok);
            match (next(), next(), next()) {
                (Some(major), Some(minor), patch) => Ok(Self {
                    major,
                    minor,
                    patch: patch.unwrap_or(0),
                }),
                _ => Err(format!("not a kernel version: {s}")),
            }
        }
    }

    impl fmt::Display for KernelVersion {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
        }
    }
}

/// The series of a version: `5.10` of `5.10.262`.
pub fn series(version: KernelVersion) -> String {
    format!("{}.{}", version.major, version.minor)
}
