//! Unpacks the layers of an image, as far as they are files of a kernel.
//!
//! A layer is a tar archive of what it adds to those below it, and of whiteouts, which remove something from them. No path
//! of an archive is used on disk: each file is stored under a number until the last layer is unpacked.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use tar::{Archive, Entry};

use crate::kernels::download::unpack::{target, uncompressed, write};
use crate::kernels::files::manifest::Record;

/// Limits for all layers together: unpacked bytes, also of files that are not kept, and stored files.
const MAX_UNPACKED: u64 = 16 << 30;
const MAX_FILES: u64 = 100_000;

const STORE: &str = "layers";
const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// The files of a kernel in the layers that were added.
pub(crate) struct Layers<'a> {
    dir: &'a Path,
    /// By path in the image.
    files: BTreeMap<PathBuf, Stored>,
    /// The number of layers.
    layers: usize,
    /// The number of files that were stored.
    stored: u64,
    /// What remains of the limit.
    left: u64,
}

struct Stored {
    layer: usize,
    record: Record,
}

impl<'a> Layers<'a> {
    /// Unpacks into `dir`.
    pub(crate) fn new(dir: &'a Path) -> Self {
        Self {
            dir,
            files: BTreeMap::new(),
            layers: 0,
            stored: 0,
            left: MAX_UNPACKED,
        }
    }

    /// Adds the next layer.
    pub(crate) fn add(&mut self, file: &Path) -> Result<()> {
        self.layers += 1;
        let file = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
        let mut left = self.left;
        let reader = Limited {
            reader: uncompressed(BufReader::new(file))?,
            left: &mut left,
        };
        for entry in Archive::new(reader).entries()? {
            self.entry(entry?)?;
        }
        self.left = left;
        Ok(())
    }

    fn entry(&mut self, mut entry: Entry<'_, impl Read>) -> Result<()> {
        let Some(path) = inside(&entry.path()?) else {
            return Ok(());
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let parent = path.parent().unwrap_or(Path::new(""));
        if name == OPAQUE {
            self.hide(parent);
            return Ok(());
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            self.hide(&parent.join(hidden));
            return Ok(());
        }
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            // A folder replaces a file. What is below it can only be in a folder.
            let is_below = self
                .files
                .get(&path)
                .is_some_and(|file| file.layer < self.layers);
            if is_below {
                self.files.remove(&path);
            }
            return Ok(());
        }
        // A file replaces a folder, and a link a file.
        self.hide(&path);
        if kernel_file(&path).is_none() {
            return Ok(());
        }
        if kind.is_file() {
            let stored = self.next()?;
            let record = write(&mut entry, self.dir, &stored)?;
            self.keep(path, record);
        } else if kind.is_hard_link() {
            let to = entry.link_name()?.context("a hard link has no target")?;
            let record = inside(&to).and_then(|to| self.files.get(&to));
            let Some(Stored { record, .. }) = record else {
                bail!(
                    "{} is a hard link to {}, which is no file of a kernel",
                    path.display(),
                    to.display()
                );
            };
            let record = record.clone();
            self.keep(path, record);
        }
        Ok(())
    }

    /// Removes a file of the layers below the current one, or all files of them in a folder.
    fn hide(&mut self, path: &Path) {
        // They follow their folder in the order of the map.
        let hidden: Vec<_> = self
            .files
            .range(path.to_owned()..)
            .take_while(|(file, _)| file.starts_with(path))
            .filter(|(_, stored)| stored.layer < self.layers)
            .map(|(file, _)| file.clone())
            .collect();
        for file in hidden {
            self.files.remove(&file);
        }
    }

    fn keep(&mut self, path: PathBuf, record: Record) {
        let layer = self.layers;
        self.files.insert(path, Stored { layer, record });
    }

    /// Where to store the next file.
    fn next(&mut self) -> Result<PathBuf> {
        self.stored += 1;
        if self.stored > MAX_FILES {
            bail!("it has more than {MAX_FILES} files of kernels");
        }
        Ok(Path::new(STORE).join(self.stored.to_string()))
    }

    /// Moves the files to where a kernel has them: `vmlinuz`, `config` and `lib/modules/RELEASE/`.
    pub(crate) fn finish(self) -> Result<Vec<Record>> {
        let mut records: BTreeMap<PathBuf, (PathBuf, Record)> = BTreeMap::new();
        for (path, Stored { record, .. }) in self.files {
            let Some(target) = kernel_file(&path) else {
                continue;
            };
            if let Some((other, same)) = records.get(&target) {
                if same.sha256 == record.sha256 {
                    continue;
                }
                bail!(
                    "the image has more than one kernel: {} and {}",
                    other.display(),
                    path.display()
                );
            }
            let to = self.dir.join(&target);
            let context = || format!("cannot write {}", to.display());
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent).with_context(context)?;
            }
            // A hard link has the same file.
            fs::hard_link(self.dir.join(&record.path), &to).with_context(context)?;
            let record = Record {
                path: target.to_string_lossy().into_owned(),
                ..record
            };
            records.insert(target, (path, record));
        }
        if !records.contains_key(Path::new("vmlinuz")) {
            bail!(
                "the image has no kernel: none of boot/vmlinuz*, lib/modules/*/vmlinuz and data/kernels/*/boot/vmlinuz*"
            );
        }
        let store = self.dir.join(STORE);
        fs::remove_dir_all(&store).with_context(|| format!("cannot remove {}", store.display()))?;
        Ok(records.into_values().map(|(_, record)| record).collect())
    }
}

/// The path of a file of a kernel below its folder. The images of little-vm-helper have a kernel in `data/kernels/NAME`.
fn kernel_file(path: &Path) -> Option<PathBuf> {
    let mut parts = path.components();
    let below = match path.strip_prefix("data/kernels") {
        Ok(_) => {
            parts.nth(2)?;
            parts.as_path()
        }
        Err(_) => path,
    };
    target(below)
}

/// A path relative to the root of the image; none if it leads out of it.
fn inside(path: &Path) -> Option<PathBuf> {
    let mut inside = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => inside.push(part),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(inside)
}

/// A reader that fails beyond a limit.
struct Limited<'a, R> {
    reader: R,
    left: &'a mut u64,
}

impl<R: Read> Read for Limited<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        *self.left = self.left.checked_sub(n as u64).ok_or_else(|| {
            io::Error::other(format!(
                "the layers of the image have more than {MAX_UNPACKED} bytes when unpacked"
            ))
        })?;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_for_all_layers_together() {
        let dir = tempfile::tempdir().unwrap();
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(3000);
        header.set_mode(0o644);
        tar.append_data(&mut header, "boot/vmlinuz", &[0; 3000][..])
            .unwrap();
        let layer = dir.path().join("layer");
        fs::write(&layer, tar.into_inner().unwrap()).unwrap();

        let mut layers = Layers {
            left: 8000,
            ..Layers::new(dir.path())
        };
        layers.add(&layer).unwrap();
        let error = format!("{:#}", layers.add(&layer).unwrap_err());
        assert!(error.contains("bytes when unpacked"), "{error}");

        let other = tempfile::tempdir().unwrap();
        let mut layers = Layers {
            stored: MAX_FILES - 1,
            ..Layers::new(other.path())
        };
        layers.add(&layer).unwrap();
        let error = format!("{:#}", layers.add(&layer).unwrap_err());
        assert!(error.contains("more than 100000 files"), "{error}");
    }
}
