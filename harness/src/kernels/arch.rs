//! The architecture of a kernel.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An architecture whose kernels can be booted.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    clap::ValueEnum,
)]
pub enum Arch {
    /// x86-64
    #[default]
    #[serde(rename = "x86_64")]
    #[value(name = "x86_64", alias = "amd64")]
    X86_64,
    /// 64-bit Arm
    #[serde(rename = "arm64")]
    #[value(name = "arm64", alias = "aarch64")]
    Arm64,
}

impl Arch {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::X86_64, Self::Arm64];

    /// The architecture of this machine, or x86-64 if it is another one.
    pub const fn host() -> Self {
        if cfg!(target_arch = "aarch64") {
            Self::Arm64
        } else {
            Self::X86_64
        }
    }

    /// Its name in the report: `x86_64`, `arm64`.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
        }
    }

    /// Its name in the archives of Debian and Ubuntu, and in images of containers.
    pub(crate) fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// Splits the architecture from the name of a kernel: `6.12:arm64`.
    pub(crate) fn split(name: &str) -> (&str, Option<Self>) {
        let split = name.rsplit_once(':');
        let split = split.and_then(|(rest, arch)| Some((rest, Some(arch.parse().ok()?))));
        split.unwrap_or((name, None))
    }

    /// The architecture of a kernel with this name.
    pub(crate) fn of_name(name: &str) -> Self {
        Self::split(name).1.unwrap_or_default()
    }

    /// The name of a kernel of this architecture. That of an x86-64 kernel has no architecture: `6.12`.
    pub(crate) fn qualify(self, name: &str) -> String {
        match self {
            Self::X86_64 => name.to_owned(),
            Self::Arm64 => format!("{name}:{self}"),
        }
    }
}

impl FromStr for Arch {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        clap::ValueEnum::from_str(name, false).map_err(|_| ())
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl From<Arch> for fexit::Arch {
    fn from(arch: Arch) -> Self {
        match arch {
            Arch::X86_64 => Self::X86_64,
            Arch::Arm64 => Self::Arm64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_of_a_kernel_ends_with_its_architecture_unless_that_is_x86_64() {
        for (name, split) in [
            ("6.12", ("6.12", None)),
            ("6.12:arm64", ("6.12", Some(Arch::Arm64))),
            ("all:aarch64", ("all", Some(Arch::Arm64))),
            ("6.*:amd64", ("6.*", Some(Arch::X86_64))),
            ("6.12:mips", ("6.12:mips", None)),
        ] {
            assert_eq!(Arch::split(name), split);
        }
        for arch in Arch::ALL {
            let (name, split) = (arch.qualify("6.12"), Some(arch));
            assert_eq!(Arch::split(&name).1.or(Some(Arch::X86_64)), split);
            assert_eq!(serde_json::to_value(arch).unwrap(), arch.to_string());
        }
    }
}
