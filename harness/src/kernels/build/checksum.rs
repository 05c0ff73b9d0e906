//! The checksum of a source tree.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::kernels::files::manifest::hash_into;
use crate::support::hex::hex;
use crate::support::interrupt::INTERRUPTED;
use crate::support::stop::Stop;

/// What `make` writes into a source tree, some of it even if the build is in another folder, and `make distclean` removes.
const OUTPUT_DIRS: [&str; 3] = [
    "include/config",
    "include/generated",
    "arch/x86/include/generated",
];

/// Names of such files and folders at any place.
const OUTPUTS: [&str; 16] = [
    "*.a",
    "*.cmd",
    "*.dtb",
    "*.dwo",
    "*.ko",
    "*.lst",
    "*.mod",
    "*.mod.c",
    "*.o",
    "*.o.d",
    "*.order",
    "*.pyc",
    "*.su",
    ".git",
    ".tmp_*",
    "__pycache__",
];

/// A checksum over the names and contents of the files of a tree, without those that a build writes.
pub(super) fn of_tree(dir: &Path, stop: &Stop) -> Result<String> {
    let mut hash = Sha256::new();
    let walk = Walk {
        root: dir,
        outputs: OUTPUTS
            .iter()
            .map(|name| glob::Pattern::new(name))
            .collect::<Result<_, _>>()?,
        stop,
    };
    walk.add(&mut hash, dir)?;
    Ok(hex(&hash.finalize()))
}

struct Walk<'a> {
    root: &'a Path,
    outputs: Vec<glob::Pattern>,
    stop: &'a Stop,
}

impl Walk<'_> {
    fn add(&self, hash: &mut Sha256, dir: &Path) -> Result<()> {
        let context = || format!("cannot read {}", dir.display());
        let entries = fs::read_dir(dir).with_context(context)?;
        let mut paths = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<Vec<_>, _>>()
            .with_context(context)?;
        paths.sort();
        for path in paths {
            if self.stop.requested() {
                bail!(INTERRUPTED);
            }
            if self.is_output(&path) {
                continue;
            }
            let metadata = fs::symlink_metadata(&path).with_context(context)?;
            if metadata.is_dir() {
                // A folder counts by its files, as in git.
                self.add(hash, &path)?;
                continue;
            }
            let below = path.strip_prefix(self.root)?;
            hash.update(below.as_os_str().as_bytes());
            hash.update(b"\0");
            if metadata.is_symlink() {
                hash.update(b"@");
                hash.update(fs::read_link(&path)?.as_os_str().as_bytes());
                hash.update(b"\0");
            } else {
                hash.update(b"=");
                hash.update(metadata.len().to_le_bytes());
                hash_into(hash, &path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
            }
        }
        Ok(())
    }

    fn is_output(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.outputs.iter().any(|output| output.matches(&name))
            || OUTPUT_DIRS.iter().any(|dir| self.root.join(dir) == path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(dir: &tempfile::TempDir, path: &str, text: &str) {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        put(&dir, "Makefile", "VERSION = 5\n");
        put(&dir, "include/linux/bpf.h", "");
        put(&dir, "kernel/fork.c", "int fork;\n");
        dir
    }

    fn of(dir: &tempfile::TempDir) -> String {
        of_tree(dir.path(), &Stop::new().unwrap()).unwrap()
    }

    #[test]
    fn every_change_of_a_source_file_changes_it() {
        let before = of(&tree());
        assert_eq!(before, of(&tree()));
        for (path, text) in [
            ("kernel/fork.c", "int Fork;\n"),
            ("kernel/exec.c", ""),
            ("localversion-rt", "-rt5"),
            ("kernel/generated/x.h", ""),
            ("scripts/order", ""),
        ] {
            let dir = tree();
            put(&dir, path, text);
            assert_ne!(of(&dir), before, "{path}");
        }
        let dir = tree();
        fs::rename(dir.path().join("kernel"), dir.path().join("lib")).unwrap();
        assert_ne!(of(&dir), before);
    }

    #[test]
    fn files_that_a_build_writes_do_not_change_it() {
        let dir = tree();
        let before = of(&dir);
        for path in [
            "include/generated/uapi/linux/version.h",
            "include/config/auto.conf",
            "arch/x86/include/generated/asm/x.h",
            "kernel/fork.o",
            "kernel/.fork.o.cmd",
            "kernel/.fork.o.d",
            "kernel/built-in.a",
            "kernel/modules.order",
            "drivers/net/tun.mod.c",
            "scripts/__pycache__/x.cpython-311.pyc",
            ".git/HEAD",
        ] {
            put(&dir, path, "x");
        }
        assert_eq!(of(&dir), before);
    }
}
