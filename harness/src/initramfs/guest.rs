//! The guests that are built into the harness, one for each architecture.

use anyhow::{Context as _, Result};

use crate::kernels::Arch;

/// The programs of a guest.
#[derive(Debug)]
pub struct Guest {
    arch: Arch,
    /// `/init`, which runs the scenarios.
    pub init: &'static [u8],
    /// The waiting init of a template.
    pub stage1: &'static [u8],
}

const GUESTS: &[Guest] = include!(concat!(env!("OUT_DIR"), "/guests.rs"));

/// The guest for an architecture.
pub fn of(arch: Arch) -> Result<&'static Guest> {
    let mut guests = GUESTS.iter();
    guests
        .find(|guest| guest.arch == arch)
        .with_context(|| missing(arch))
}

/// What to do about a guest that is not there.
fn missing(arch: Arch) -> String {
    let install = match arch {
        Arch::Arm64 => "run `ci/setup --arm64`",
        Arch::X86_64 => {
            "install gcc-x86-64-linux-gnu, and run `rustup target add x86_64-unknown-linux-gnu`"
        }
    };
    format!("this harness was built without a guest for {arch}: {install}, and build it again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_of_this_machine_is_built_in_and_a_missing_one_says_what_to_install() {
        assert!(of(Arch::host()).unwrap().init.starts_with(b"\x7fELF"));
        let error = missing(Arch::Arm64);
        assert!(
            error.contains("for arm64: run `ci/setup --arm64`"),
            "{error}"
        );
        for guest in GUESTS {
            let machine = match guest.arch {
                Arch::X86_64 => 62,
                Arch::Arm64 => 183,
            };
            assert_eq!(guest.init[18], machine);
            assert_eq!(guest.stage1[18], machine);
        }
    }
}
