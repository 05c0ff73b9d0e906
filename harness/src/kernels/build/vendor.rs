//! The distributions whose kernel sources the harness recognizes. The data is in `kernels/vendors.toml`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::tree;
use crate::support::error::usage;

const DATA: &str = include_str!("../../../../kernels/vendors.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    vendor: Vec<Vendor>,
}

/// A distribution.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vendor {
    /// A file or folder that only its trees have.
    marker: String,
    /// The name of its kernels, with `{VARIABLE}` for a variable of the marker.
    tag: String,
    /// Patterns of its configuration for x86-64.
    configs: Vec<String>,
}

/// The name of the vendor's kernels, as `el9.6`; none for a tree of no known vendor.
pub(super) fn tag(dir: &Path) -> Result<Option<String>> {
    vendor(dir)?.map(|vendor| vendor.tag(dir)).transpose()
}

/// The vendor's own configuration in its tree.
pub(super) fn config(dir: &Path) -> Result<PathBuf> {
    let name = dir.display();
    let advice = "name one with --base-config FILE";
    let Some(vendor) = vendor(dir)? else {
        return Err(usage(format!(
            "--base-config vendor: {name} is not the tree of a vendor that vendors.toml has: {advice}"
        )));
    };
    if vendor.configs.is_empty() {
        return Err(usage(format!(
            "--base-config vendor: trees of {} have no complete configuration: {advice}",
            vendor.tag
        )));
    }
    let mut found = Vec::new();
    for pattern in &vendor.configs {
        let pattern = format!("{}/{pattern}", glob::Pattern::escape(&name.to_string()));
        found.extend(glob::glob(&pattern)?.filter_map(Result::ok));
    }
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(usage(format!(
            "--base-config vendor: {name} has none of {}: {advice}",
            vendor.configs.join(", ")
        ))),
        several => {
            let paths: Vec<_> = several
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            Err(usage(format!(
                "--base-config vendor: {name} has {}: {advice}",
                paths.join(", ")
            )))
        }
    }
}

fn vendor(dir: &Path) -> Result<Option<Vendor>> {
    let data: Data = toml::from_str(DATA).context("vendors.toml is invalid")?;
    let mut vendors = data.vendor.into_iter();
    Ok(vendors.find(|vendor| dir.join(&vendor.marker).exists()))
}

impl Vendor {
    fn tag(&self, dir: &Path) -> Result<String> {
        let mut tag = self.tag.clone();
        while let Some((before, rest)) = tag.split_once('{') {
            let (name, after) = rest.split_once('}').context("vendors.toml: { without }")?;
            let path = dir.join(&self.marker);
            let makefile = fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let Some(value) = tree::variable(&makefile, name) else {
                bail!("{} does not set {name}", path.display());
            };
            tag = format!("{before}{value}{after}");
        }
        Ok(tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::error::exit_code;

    fn el() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("almalinux")).unwrap();
        fs::write(
            dir.path().join("Makefile.rhelver"),
            "RHEL_MAJOR = 9\nRHEL_MINOR = 6\n\n# RHEL_RELEASE\nRHEL_RELEASE = 570.32.1\n",
        )
        .unwrap();
        dir
    }

    #[test]
    fn tag_has_the_minor_release() {
        let dir = el();
        assert_eq!(tag(dir.path()).unwrap().unwrap(), "el9.6");
        let marker = dir.path().join("Makefile.rhelver");
        fs::write(&marker, "RHEL_MAJOR = 9\nRHEL_MINOR = 5\n").unwrap();
        assert_eq!(tag(dir.path()).unwrap().unwrap(), "el9.5");
        fs::write(&marker, "RHEL_MAJOR = 9\n").unwrap();
        assert!(
            tag(dir.path())
                .unwrap_err()
                .to_string()
                .contains("RHEL_MINOR")
        );
        fs::remove_file(&marker).unwrap();
        assert_eq!(tag(dir.path()).unwrap(), None);
    }

    #[test]
    fn configuration_is_found_or_to_be_named() {
        let dir = el();
        let failed = |message: &str| {
            let error = config(dir.path()).unwrap_err();
            assert_eq!(exit_code(&error), 2);
            let error = error.to_string();
            assert!(error.contains(message) && error.contains("FILE"), "{error}");
        };
        failed("*/kernel-x86_64-rhel.config");
        let path = dir.path().join("almalinux/kernel-x86_64-rhel.config");
        fs::write(&path, "").unwrap();
        fs::write(
            dir.path().join("almalinux/kernel-x86_64-debug-rhel.config"),
            "",
        )
        .unwrap();
        assert_eq!(config(dir.path()).unwrap(), path);
        fs::write(dir.path().join("almalinux/kernel-x86_64.config"), "").unwrap();
        failed("almalinux/kernel-x86_64.config");
        fs::remove_file(dir.path().join("Makefile.rhelver")).unwrap();
        failed("is not the tree of a vendor");
    }
}
