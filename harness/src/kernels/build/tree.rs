//! A kernel source tree: its version, and unpacking it.

use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::kernels::download::unpack;
use crate::support::error::usage;
use crate::support::interrupt::INTERRUPTED;
use crate::support::stop::Stop;

/// What every kernel source tree has.
const SIGNS: [&str; 3] = ["Makefile", "Kconfig", "arch/x86"];

/// What a build leaves in a tree. It makes a build in another folder fail.
const BUILT: [&str; 2] = [".config", "include/config"];

/// Whether this is a kernel source tree.
pub(super) fn is_tree(dir: &Path) -> bool {
    SIGNS.iter().all(|sign| dir.join(sign).exists())
}

/// Refuses a tree in which a kernel was configured or built.
pub(super) fn check_clean(dir: &Path) -> Result<()> {
    match BUILT.iter().find(|built| dir.join(built).exists()) {
        None => Ok(()),
        Some(built) => Err(usage(format!(
            "a kernel was configured or built in {0} itself (there is {built}): run `make -C {0} mrproper`, or boot what \
             was built with --kernel-image {0}",
            dir.display()
        ))),
    }
}

/// The version in the Makefile of a tree: `5.5.19`, `5.5.0-rc5`.
pub(super) fn version(dir: &Path) -> Result<String> {
    let path = dir.join("Makefile");
    let makefile =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let number = |name| variable(&makefile, name).filter(|text| text.parse::<u16>().is_ok());
    let numbers = (number("VERSION"), number("PATCHLEVEL"), number("SUBLEVEL"));
    let (Some(major), Some(minor), Some(patch)) = numbers else {
        bail!("{} contains no version", path.display());
    };
    let extra = variable(&makefile, "EXTRAVERSION").unwrap_or_default();
    Ok(format!("{major}.{minor}.{patch}{extra}"))
}

/// The value of a variable that a Makefile sets with `NAME = VALUE`.
pub(super) fn variable<'a>(makefile: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = makefile.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix('='));
    value.map(str::trim)
}

/// Unpacks a tarball, and moves the source tree in it to `dir`.
pub(super) fn unpack_into(tarball: &Path, dir: &Path, stop: &Stop) -> Result<()> {
    let context = || format!("cannot unpack {}", tarball.display());
    let partial = dir.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial).with_context(context)?;
    }
    fs::create_dir_all(&partial).with_context(context)?;
    let reader = unpack::open_tar(tarball)?;
    let mut archive = tar::Archive::new(BufReader::new(reader));
    archive.set_preserve_mtime(true);
    for entry in archive.entries().with_context(context)? {
        if stop.requested() {
            bail!(INTERRUPTED);
        }
        let mut entry = entry.with_context(context)?;
        entry.unpack_in(&partial).with_context(context)?;
    }
    let tree = find_tree(&partial)?
        .with_context(|| format!("{} contains no kernel source tree", tarball.display()))?;
    fs::rename(tree, dir).with_context(context)?;
    fs::remove_dir_all(&partial).with_context(context)
}

/// This folder or a folder in it, if it is a source tree.
fn find_tree(dir: &Path) -> Result<Option<PathBuf>> {
    if is_tree(dir) {
        return Ok(Some(dir.to_owned()));
    }
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if is_tree(&path) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("arch/x86")).unwrap();
        fs::write(dir.path().join("Kconfig"), "").unwrap();
        fs::write(
            dir.path().join("Makefile"),
            "# SPDX\nVERSION = 5\nPATCHLEVEL = 5\nSUBLEVEL = 0\nEXTRAVERSION = -rc5\nNAME = Kleptomaniac Octopus\n",
        )
        .unwrap();
        dir
    }

    #[test]
    fn version_is_read_from_the_makefile() {
        let dir = tree();
        assert!(is_tree(dir.path()));
        assert_eq!(version(dir.path()).unwrap(), "5.5.0-rc5");
        fs::write(dir.path().join("Makefile"), "VERSION = 5\n").unwrap();
        assert!(version(dir.path()).is_err());
    }

    #[test]
    fn tree_with_build_output_is_refused() {
        let dir = tree();
        check_clean(dir.path()).unwrap();
        fs::write(dir.path().join(".config"), "").unwrap();
        let error = check_clean(dir.path()).unwrap_err();
        assert_eq!(crate::support::error::exit_code(&error), 2);
        assert!(error.to_string().contains("mrproper"), "{error}");
    }
}
