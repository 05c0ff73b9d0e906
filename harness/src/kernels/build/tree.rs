//! A kernel source tree: unpacking it, its version, and its checksum.

use std::fs;
use std::io::BufReader;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::kernels::download::unpack;
use crate::kernels::files::manifest::hash_into;
use crate::support::error::usage;
use crate::support::hex::hex;
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
    let value = |name: &str| {
        let mut lines = makefile.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix('='));
        value.map(str::trim)
    };
    let number = |name| value(name).filter(|text| text.parse::<u16>().is_ok());
    let numbers = (number("VERSION"), number("PATCHLEVEL"), number("SUBLEVEL"));
    let (Some(major), Some(minor), Some(patch)) = numbers else {
        bail!("{} contains no version", path.display());
    };
    let extra = value("EXTRAVERSION").unwrap_or_default();
    Ok(format!("{major}.{minor}.{patch}{extra}"))
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

/// A checksum over the names and contents of all files of a tree.
pub(super) fn hash_tree(dir: &Path, stop: &Stop) -> Result<String> {
    let mut hash = Sha256::new();
    add_dir(&mut hash, dir, stop)?;
    Ok(hex(&hash.finalize()))
}

fn add_dir(hash: &mut Sha256, dir: &Path, stop: &Stop) -> Result<()> {
    let context = || format!("cannot read {}", dir.display());
    let entries = fs::read_dir(dir).with_context(context)?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .with_context(context)?;
    paths.sort();
    for path in paths {
        if stop.requested() {
            bail!(INTERRUPTED);
        }
        let name = path.file_name().unwrap_or_default();
        if name == ".git" {
            continue;
        }
        hash.update(name.as_bytes());
        let kind = fs::symlink_metadata(&path)?.file_type();
        if kind.is_dir() {
            hash.update(b"{");
            add_dir(hash, &path, stop)?;
            hash.update(b"}");
        } else if kind.is_symlink() {
            hash.update(b"@");
            hash.update(fs::read_link(&path)?.as_os_str().as_bytes());
            hash.update(b"\0");
        } else {
            hash.update(b"=");
            hash.update(fs::symlink_metadata(&path)?.len().to_le_bytes());
            hash_into(hash, &path).with_context(|| format!("cannot read {}", path.display()))?;
        }
    }
    Ok(())
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

    #[test]
    fn every_change_of_a_tree_changes_its_checksum() {
        let stop = Stop::new().unwrap();
        let hash = |dir: &tempfile::TempDir| hash_tree(dir.path(), &stop).unwrap();
        let (dir, other) = (tree(), tree());
        let before = hash(&dir);
        assert_eq!(before, hash(&other));
        fs::create_dir(dir.path().join(".git")).unwrap();
        fs::write(dir.path().join(".git/HEAD"), "x").unwrap();
        assert_eq!(before, hash(&dir));
        fs::write(dir.path().join("arch/x86/new.c"), "").unwrap();
        assert_ne!(before, hash(&dir));
    }
}
