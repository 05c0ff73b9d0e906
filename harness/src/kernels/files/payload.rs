//! The compressed kernel in an image.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use anyhow::{Context, Result, bail, ensure};

use super::format::{Format, HEADER, read_at};

/// Offsets in the setup header of a bzImage (the kernel's documentation: x86/boot).
const SETUP_SECTORS: usize = 0x1f1;
const PAYLOAD: usize = 0x248;

/// Where an image for EFI firmware has offset and size of its payload.
const ZBOOT_PAYLOAD: usize = 8;

/// How many bytes the size of the uncompressed kernel takes, at the end of the compressed one.
const SIZE: u64 = 4;

/// What a gzip file begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The limit for an uncompressed kernel: a damaged image may have a larger size in it.
const LARGEST: u64 = 1 << 30;

/// The compressed kernel in an image.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Payload {
    offset: u64,
    packed: u64,
    pub(crate) unpacked: u64,
}

impl Payload {
    /// `None` for an image that is not compressed.
    pub(crate) fn find(file: &mut File) -> Result<Option<Self>> {
        let mut header = vec![0; HEADER];
        let n = read_at(file, 0, &mut header)?;
        let format = Format::of(&header[..n]).context("it is not a kernel image")?;
        let word = |at: usize| {
            let bytes = [header[at], header[at + 1], header[at + 2], header[at + 3]];
            u64::from(u32::from_le_bytes(bytes))
        };
        let (offset, length) = match format {
            Format::Elf(_) | Format::Image => return Ok(None),
            Format::BzImage => {
                // 0 means 4, for compatibility with very old kernels.
                let sectors = match header[SETUP_SECTORS] {
                    0 => 4,
                    sectors => u64::from(sectors),
                };
                ((sectors + 1) * 512 + word(PAYLOAD), word(PAYLOAD + 4))
            }
            Format::Gzip => (0, file.metadata()?.len()),
            Format::Zboot => {
                let (offset, length) = (word(ZBOOT_PAYLOAD), word(ZBOOT_PAYLOAD + 4));
                let mut magic = [0; 2];
                read_at(file, offset, &mut magic)?;
                // The size of the header leaves out what the build adds to other formats than gzip.
                (offset, if magic == GZIP { length } else { length + SIZE })
            }
        };
        let packed = length.checked_sub(SIZE).context("its payload is empty")?;
        // The size of the uncompressed kernel follows the compressed data.
        let mut size = [0; SIZE as usize];
        file.seek(SeekFrom::Start(offset + packed))?;
        file.read_exact(&mut size).context("it is truncated")?;
        Ok(Some(Self {
            offset,
            packed,
            unpacked: u32::from_le_bytes(size).into(),
        }))
    }

    /// The kernel.
    pub(crate) fn unpack(&self, file: &mut File) -> Result<Vec<u8>> {
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
        image[0x202..0x206].copy_from_slice(b"HdrS");
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
        let mut file = File::open(image.path())?;
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
    fn unsupported_compression_error_says_why() {
        let error = |image: &tempfile::NamedTempFile| format!("{:#}", unpack(image).unwrap_err());
        assert!(error(&bz_image(b"LZO, say", 9)).contains("not supported"));
        assert!(error(&bz_image(&lz4(b"ten bytes!")[..15], 10)).contains("damaged"));
        assert!(error(&bz_image(b"", u32::MAX as usize)).contains("unpacks to 4294967295"));
        let empty = tempfile::NamedTempFile::new().unwrap();
        assert!(error(&empty).contains("not a kernel image"));
    }
}
