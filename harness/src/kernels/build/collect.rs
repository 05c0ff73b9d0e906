//! Moves the results of a build to where a cached kernel has them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::kernels::files::manifest::{self, Record};

/// Where a build writes the image.
const IMAGE: &str = "arch/x86/boot/bzImage";

/// Copies image and configuration from `out` to `stage`, which has the modules already. Records every file.
pub(super) fn collect(out: &Path, stage: &Path) -> Result<Vec<Record>> {
    for (from, to) in [(IMAGE, "vmlinuz"), (".config", "config")] {
        let from = out.join(from);
        fs::copy(&from, stage.join(to))
            .with_context(|| format!("the build has not made {}", from.display()))?;
    }
    let mut records = Vec::new();
    record(stage, stage, &mut records)
        .with_context(|| format!("cannot read {}", stage.display()))?;
    Ok(records)
}

fn record(root: &Path, dir: &Path, records: &mut Vec<Record>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let metadata = fs::symlink_metadata(&path)?;
        if metadata.is_dir() {
            record(root, &path, records)?;
        } else if metadata.is_file() {
            records.push(Record {
                path: path.strip_prefix(root)?.to_string_lossy().into_owned(),
                size: metadata.len(),
                mtime: manifest::mtime(&metadata),
                sha256: manifest::hash_file(&path)?,
            });
        } else {
            // A link to the build folder.
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}
