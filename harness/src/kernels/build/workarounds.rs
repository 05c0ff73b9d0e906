//! Workarounds for kernels that are older than the tools that build them. The data, with ranges and reasons, is in
//! `kernels/workarounds.toml`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fexit::KernelVersion;
use serde::Deserialize;

use super::config::Config;
use crate::kernels::range::Range;

const DATA: &str = include_str!("../../../../kernels/workarounds.toml");

/// A workaround.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Workaround {
    /// Its name in the report.
    pub(super) name: String,
    /// Which kernels need it.
    #[serde(default)]
    kernels: Range,
    /// Why they need it.
    reason: String,
    /// Kernel options, as lines of a fragment.
    #[serde(default)]
    config: Vec<String>,
    /// Variables for `make`.
    #[serde(default)]
    make: Vec<String>,
    /// Arguments for pahole.
    #[serde(default)]
    pahole: Vec<PaholeFlag>,
}

/// An argument for pahole from this version on.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PaholeFlag {
    flag: String,
    since: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    workaround: Vec<Workaround>,
}

/// The workarounds that this kernel version needs.
pub(super) fn of(version: KernelVersion) -> Result<Vec<Workaround>> {
    let mut data: Data = toml::from_str(DATA).context("workarounds.toml is invalid")?;
    data.workaround
        .retain(|workaround| workaround.kernels.contains(version));
    Ok(data.workaround)
}

impl Workaround {
    /// Adds its kernel options to a configuration.
    pub(super) fn configure(&self, config: &mut Config, version: KernelVersion) -> Result<()> {
        config.add(&self.name, &self.config.join("\n"), version)
    }

    /// Its variables for `make`.
    pub(super) fn variables(&self) -> &[String] {
        &self.make
    }

    /// Its name and reason.
    pub(super) fn explained(&self) -> String {
        format!("{}: {}", self.name, self.reason)
    }
}

/// The arguments for this version of pahole (124 is 1.24).
pub(super) fn pahole_flags(workarounds: &[Workaround], pahole: u32) -> Vec<&str> {
    workarounds
        .iter()
        .flat_map(|workaround| &workaround.pahole)
        .filter(|flag| pahole >= flag.since)
        .map(|flag| flag.flag.as_str())
        .collect()
}

/// Writes a script that runs pahole with more arguments: a kernel's build takes only the path of a program.
pub(super) fn wrap_pahole(dir: &Path, flags: &[&str]) -> Result<PathBuf> {
    let path = dir.join("pahole");
    let text = format!(
        "#!/bin/sh\n[ \"$1\" = --version ] && exec pahole --version\nexec pahole {} \"$@\"\n",
        flags.join(" ")
    );
    let context = || format!("cannot write {}", path.display());
    fs::write(&path, text).with_context(context)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).with_context(context)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(version: &str) -> Vec<String> {
        let found = of(version.parse().unwrap()).unwrap();
        found.into_iter().map(|found| found.name).collect()
    }

    #[test]
    fn old_kernels_have_more_workarounds() {
        assert!(names("5.5.19").contains(&"stack-protector".to_owned()));
        assert!(!names("5.7").contains(&"stack-protector".to_owned()));
        assert!(names("5.9.1").contains(&"objtool".to_owned()));
        assert!(!names("5.10.262").contains(&"objtool".to_owned()));
        assert!(names("7.3").is_empty());
    }

    #[test]
    fn each_workaround_is_valid_and_has_a_reason() {
        for version in ["5.5", "5.6", "5.7", "5.8", "5.9", "5.10", "6.1"] {
            let version = version.parse().unwrap();
            for workaround in of(version).unwrap() {
                assert!(workaround.reason.len() > 20, "{}", workaround.name);
                workaround
                    .configure(&mut Config::default(), version)
                    .unwrap();
            }
        }
    }

    #[test]
    fn pahole_gets_only_flags_it_supports() {
        let of_5_5 = of("5.5".parse().unwrap()).unwrap();
        assert!(pahole_flags(&of_5_5, 124).contains(&"--skip_encoding_btf_enum64"));
        assert!(!pahole_flags(&of_5_5, 123).contains(&"--skip_encoding_btf_enum64"));
    }
}
