//! The uncompressed kernel of an image, so that the guest need not uncompress it in emulation.
//!
//! QEMU boots such a kernel of x86-64 by PVH. The kernel needs a note for that in its ELF file. Of arm64 it boots the
//! uncompressed Image.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use object::elf::{FileHeader64, PT_NOTE};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, read::ReadCache};

use crate::kernels::cache::write_atomically;
use crate::kernels::files::payload::Payload;
use crate::kernels::{Arch, Kernel, Kernels};
use crate::support::last_used;

/// The note that holds the PVH entry point: its owner, and its type (`XEN_ELFNOTE_PHYS32_ENTRY`).
const OWNER: &[u8] = b"Xen";
const PVH_ENTRY: u32 = 18;

impl Kernels {
    /// The uncompressed form of a kernel, from the cache or from its image. The error has the reason why there is none.
    pub fn uncompressed(&self, kernel: &Kernel) -> Result<PathBuf> {
        let mut file = open(&kernel.image)?;
        let Some(payload) = Payload::find(&mut file)? else {
            ensure!(
                is_bootable(kernel.arch, &kernel.image)?,
                "the kernel has no PVH entry"
            );
            return Ok(kernel.image.clone());
        };
        let path = self.cache.uncompressed(&kernel.sha256);
        // The file is complete under its name. `kernels verify` checks its contents.
        if fs::metadata(&path).is_ok_and(|metadata| metadata.len() == payload.unpacked) {
            last_used::mark(&path);
            return Ok(path);
        }
        let vmlinux = payload.unpack(&mut file)?;
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        }
        let _guard = self
            .cache
            .lock(&format!("vmlinux-{}", kernel.sha256), || {})?;
        write_atomically(&path, &vmlinux)?;
        let bootable = is_bootable(kernel.arch, &path);
        if !matches!(bootable, Ok(true)) {
            let _ = fs::remove_file(&path);
        }
        ensure!(bootable?, "the kernel has no PVH entry");
        Ok(path)
    }
}

impl Kernels {
    /// The file for the symbols of a kernel, next to its uncompressed form.
    pub(crate) fn symbols(&self, kernel: &Kernel) -> PathBuf {
        let path = self.cache.uncompressed(&kernel.sha256);
        path.with_extension("symbols")
    }

    /// The ELF file of a kernel, or its Image of arm64, whether or not QEMU can boot it.
    pub(crate) fn vmlinux(&self, kernel: &Kernel) -> Result<Vec<u8>> {
        let read =
            |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        if let Ok(path) = self.uncompressed(kernel) {
            return read(&path);
        }
        let mut file = open(&kernel.image)?;
        match Payload::find(&mut file)? {
            Some(payload) => payload.unpack(&mut file),
            None => read(&kernel.image),
        }
    }
}

/// Compares the uncompressed form at `path`, if there is one, with what the image unpacks to.
pub(super) fn verify(image: &Path, path: &Path) -> Result<()> {
    let cached = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        read => read.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let compare = || {
        let mut file = open(image)?;
        let payload = Payload::find(&mut file)?.context("the image is not compressed")?;
        ensure!(
            payload.unpack(&mut file)? == cached,
            "its contents have changed"
        );
        Ok(())
    };
    compare().with_context(|| {
        format!(
            "the unpacked kernel {} is damaged; `harness cache clear` removes it, and the next run unpacks it again",
            path.display()
        )
    })
}

fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Whether QEMU boots an uncompressed kernel. Images of arm64 need nothing more.
fn is_bootable(arch: Arch, path: &Path) -> Result<bool> {
    match arch {
        Arch::X86_64 => has_pvh_entry(path),
        Arch::Arm64 => Ok(true),
    }
}

fn has_pvh_entry(path: &Path) -> Result<bool> {
    let cache = ReadCache::new(open(path)?);
    let no_kernel = || format!("{} is not an x86-64 kernel", path.display());
    let header = FileHeader64::<Endianness>::parse(&cache).with_context(no_kernel)?;
    let endian = header.endian().with_context(no_kernel)?;
    for segment in header
        .program_headers(endian, &cache)
        .with_context(no_kernel)?
    {
        if segment.p_type(endian) != PT_NOTE {
            continue;
        }
        let Some(mut notes) = segment.notes(endian, &cache).with_context(no_kernel)? else {
            continue;
        };
        while let Some(note) = notes.next().with_context(no_kernel)? {
            if note.name() == OWNER && note.n_type(endian) == PVH_ENTRY {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn verify_finds_a_changed_byte_in_the_uncompressed_kernel() {
        let mut image = tempfile::NamedTempFile::new().unwrap();
        let mut gzip = flate2::write::GzEncoder::new(&mut image, flate2::Compression::fast());
        gzip.write_all(b"ten bytes!").unwrap();
        gzip.finish().unwrap();
        let cache = tempfile::tempdir().unwrap();
        let path = cache.path().join("vmlinux");
        verify(image.path(), &path).unwrap();
        fs::write(&path, b"ten bytes!").unwrap();
        verify(image.path(), &path).unwrap();
        fs::write(&path, b"tem bytes!").unwrap();
        let error = format!("{:#}", verify(image.path(), &path).unwrap_err());
        for part in [path.to_str().unwrap(), "changed", "harness cache clear"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn userspace_elf_has_no_pvh_entry() {
        assert!(!has_pvh_entry(&std::env::current_exe().unwrap()).unwrap());
        assert!(has_pvh_entry(Path::new("Cargo.toml")).is_err());
    }
}
