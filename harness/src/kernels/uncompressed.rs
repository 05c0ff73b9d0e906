//! The uncompressed kernel of a bzImage, so that the guest need not uncompress it in emulation.
//!
//! QEMU boots such a kernel by PVH. The kernel needs a note for that in its ELF file.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use object::elf::{FileHeader64, PT_NOTE};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, read::ReadCache};

use crate::kernels::cache::write_atomically;
use crate::kernels::{Kernel, Kernels};
use crate::support::last_used;

/// Offsets in the setup header of a bzImage (the kernel's documentation: x86/boot).
const SETUP_SECTORS: usize = 0x1f1;
const MAGIC: usize = 0x202;
const PAYLOAD: usize = 0x248;
const HEADER: usize = 0x268;

/// The note that holds the PVH entry point: its owner, and its type (`XEN_ELFNOTE_PHYS32_ENTRY`).
const OWNER: &[u8] = b"Xen";
const PVH_ENTRY: u32 = 18;

/// How many bytes the size of the uncompressed kernel takes, at the end of the compressed one.
const SIZE: u64 = 4;

/// What a gzip file begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The limit for an uncompressed kernel: a damaged image may have a larger size in it.
const LARGEST: u64 = 1 << 30;

impl Kernels {
    /// The uncompressed form of a kernel, from the cache or from its image. The error has the reason why there is none.
    pub fn uncompressed(&self, kernel: &Kernel) -> Result<PathBuf> {
        let mut file = open(&kernel.image)?;
        let Some(payload) = Payload::find(&mut file)? else {
            ensure!(has_pvh_entry(&kernel.image)?, "the kernel has no PVH entry");
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
        let pvh = has_pvh_entry(&path);
        if !matches!(pvh, Ok(true)) {
            let _ = fs::remove_file(&path);
        }
        ensure!(pvh?, "the kernel has no PVH entry");
        Ok(path)
    }
}

impl Kernels {
    /// The file for the symbols of a kernel, next to its uncompressed form.
    pub(crate) fn symbols(&self, kernel: &Kernel) -> PathBuf {
        let path = self.cache.uncompressed(&kernel.sha256);
        path.with_extension("symbols")
    }

    /// The ELF file of a kernel, whether or not QEMU can boot it.
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

/// The compressed kernel in a bzImage.
#[derive(Debug, PartialEq, Eq)]
struct Payload {
    offset: u64,
    packed: u64,
    unpacked: u64,
}

impl Payload {
    /// `None` for an ELF file, which needs no unpacking.
    fn find(file: &mut File) -> Result<Option<Self>> {
        let mut header = [0; HEADER];
        file.read_exact(&mut header)
            .context("it is not a kernel image")?;
        if header.starts_with(b"\x7fELF") {
            return Ok(None);
        }
        ensure!(&header[MAGIC..MAGIC + 4] == b"HdrS", "it is not a bzImage");
        let word = |at: usize| {
            let bytes = [header[at], header[at + 1], header[at + 2], header[at + 3]];
            u64::from(u32::from_le_bytes(bytes))
        };
        // 0 means 4, for compatibility with very old kernels.
        let sectors = match header[SETUP_SECTORS] {
            0 => 4,
            sectors => u64::from(sectors),
        };
        let (offset, length) = ((sectors + 1) * 512 + word(PAYLOAD), word(PAYLOAD + 4));
        let packed = length.checked_sub(4).context("its payload is empty")?;
        // The size of the uncompressed kernel follows the compressed data.
        let mut size = [0; 4];
        file.seek(SeekFrom::Start(offset + packed))?;
        file.read_exact(&mut size).context("it is truncated")?;
        Ok(Some(Self {
            offset,
            packed,
            unpacked: u32::from_le_bytes(size).into(),
        }))
    }

    fn unpack(&self, file: &mut File) -> Result<Vec<u8>> {
        ensure!(
            self.unpacked < LARGEST,
            "its header says that it unpacks to {} bytes",
            self.unpacked
        );
        file.seek(SeekFrom::Start(self.offset))?;
        let mut packed = Vec::new();
        file.take(self.packed + SIZE).read_to_end(&mut packed)?;
        // A gzip file ends with the size itself; the kernel's build adds it to the others.
        if !packed.starts_with(&GZIP) {
            packed.truncate(packed.len().saturating_sub(SIZE as usize));
        }
        let mut unpacked = Vec::new();
        decompress(&packed)?
            .take(self.unpacked + 1)
            .read_to_end(&mut unpacked)
            .context("its payload is damaged")?;
        ensure!(
            unpacked.len() as u64 == self.unpacked,
            "its payload unpacks to {} bytes, not to {}",
            unpacked.len(),
            self.unpacked
        );
        Ok(unpacked)
    }
}

fn decompress(packed: &[u8]) -> Result<Box<dyn Read + '_>> {
    Ok(match packed {
        [0x02, 0x21, 0x4c, 0x18, ..] => Box::new(lz4_flex::frame::FrameDecoder::new(packed)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let mut decoder = zstd::Decoder::new(packed)?;
            // The window of a compressed kernel is as large as the kernel.
            decoder.window_log_max(30)?;
            Box::new(decoder)
        }
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Box::new(liblzma::read::XzDecoder::new(packed)),
        [0x1f, 0x8b, ..] => Box::new(flate2::read::GzDecoder::new(packed)),
        _ => bail!("its compression format is not supported"),
    })
}

fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("cannot read {}", path.display()))
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

    /// An image as the kernel's build makes it, with `packed` for its payload. A gzip file ends with the size itself.
    fn bz_image(packed: &[u8], unpacked: usize) -> tempfile::NamedTempFile {
        let packed = match packed.starts_with(&GZIP) {
            true => &packed[..packed.len() - 4],
            false => packed,
        };
        let mut image = vec![0; 2 * 512];
        image[SETUP_SECTORS] = 1;
        image[MAGIC..MAGIC + 4].copy_from_slice(b"HdrS");
        image[PAYLOAD..PAYLOAD + 4].copy_from_slice(&16_u32.to_le_bytes());
        image[PAYLOAD + 4..PAYLOAD + 8].copy_from_slice(&(packed.len() as u32 + 4).to_le_bytes());
        image.extend([0; 16]);
        image.extend(packed);
        image.extend((unpacked as u32).to_le_bytes());
        image.extend(b"what the build puts behind it");
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&image).unwrap();
        file
    }

    fn unpack(image: &tempfile::NamedTempFile) -> Result<Vec<u8>> {
        let mut file = open(image.path())?;
        Payload::find(&mut file)?.context("ELF")?.unpack(&mut file)
    }

    /// One block of LZ4 in the old frame, which holds bytes as they are.
    fn lz4(content: &[u8; 10]) -> Vec<u8> {
        let mut packed = vec![0x02, 0x21, 0x4c, 0x18, 11, 0, 0, 0, 10 << 4];
        packed.extend(content);
        packed
    }

    #[test]
    fn unpacks_every_compression_format() {
        let content = b"ten bytes!";
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(content).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(content).unwrap();
        for packed in [
            lz4(content),
            zstd::encode_all(&content[..], 1).unwrap(),
            gzip.finish().unwrap(),
            xz.finish().unwrap(),
        ] {
            assert_eq!(unpack(&bz_image(&packed, 10)).unwrap(), content);
            for size in [9, 11] {
                let error = unpack(&bz_image(&packed, size)).unwrap_err();
                let error = format!("{error:#}");
                // A gzip file has the size in itself, and a checksum.
                let of_gzip = packed.starts_with(&GZIP) && error.contains("damaged");
                assert!(of_gzip || error.contains("bytes, not to"), "{error}");
            }
        }
    }

    #[test]
    fn verify_finds_a_changed_byte_in_the_uncompressed_kernel() {
        let image = bz_image(&lz4(b"ten bytes!"), 10);
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
    fn unsupported_compression_error_says_why() {
        let error = |image: &tempfile::NamedTempFile| format!("{:#}", unpack(image).unwrap_err());
        assert!(error(&bz_image(b"LZO, say", 9)).contains("not supported"));
        assert!(error(&bz_image(&lz4(b"ten bytes!")[..15], 10)).contains("damaged"));
        assert!(error(&bz_image(b"", u32::MAX as usize)).contains("unpacks to 4294967295"));
        let empty = tempfile::NamedTempFile::new().unwrap();
        assert!(error(&empty).contains("not a kernel image"));
    }

    #[test]
    fn userspace_elf_has_no_pvh_entry() {
        assert!(!has_pvh_entry(&std::env::current_exe().unwrap()).unwrap());
        assert!(has_pvh_entry(Path::new("Cargo.toml")).is_err());
    }
}
