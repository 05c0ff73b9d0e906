//! The format of a kernel image.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use crate::kernels::arch::Arch;

/// The offset of the magic number in the setup header of a bzImage (the kernel's documentation: x86/boot).
const MAGIC: usize = 0x202;

/// The magic number in the header of an Image of arm64, and its offset (the kernel's documentation: arm64/booting).
const ARM64: (usize, &[u8]) = (0x38, b"ARM\x64");

/// The magic number of an image that an EFI firmware unpacks, and its offset (`zboot-header.S`).
const ZBOOT: (usize, &[u8]) = (4, b"zimg");

/// How much of a file shows its format.
pub(crate) const HEADER: usize = 0x268;

/// The format of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// A compressed kernel for x86-64, with a setup header.
    BzImage,
    /// A `vmlinux`.
    Elf(Arch),
    /// An uncompressed kernel for arm64.
    Image,
    /// An image that is compressed as a whole.
    Gzip,
    /// An image that an EFI firmware unpacks.
    Zboot,
}

impl Format {
    /// The format of a file that begins with these bytes, [`HEADER`] of them or all that it has.
    pub(crate) fn of(header: &[u8]) -> Option<Self> {
        let has = |at: usize, magic: &[u8]| header.get(at..at + magic.len()) == Some(magic);
        if has(MAGIC, b"HdrS") {
            return Some(Self::BzImage);
        }
        if has(0, b"\x7fELF") {
            return match header.get(18..20) {
                Some([183, 0]) => Some(Self::Elf(Arch::Arm64)),
                _ => Some(Self::Elf(Arch::X86_64)),
            };
        }
        if has(ZBOOT.0, ZBOOT.1) && has(0, b"MZ") {
            return Some(Self::Zboot);
        }
        if has(ARM64.0, ARM64.1) {
            return Some(Self::Image);
        }
        has(0, &[0x1f, 0x8b]).then_some(Self::Gzip)
    }

    /// Reads the format of a file.
    pub(crate) fn read(file: &mut File) -> io::Result<Option<Self>> {
        let mut header = vec![0; HEADER];
        let n = read_at(file, 0, &mut header)?;
        Ok(Self::of(&header[..n]))
    }
}

/// Reads up to the end of the file.
pub(super) fn read_at<R: Read + Seek>(
    file: &mut R,
    offset: u64,
    buffer: &mut [u8],
) -> io::Result<usize> {
    file.seek(SeekFrom::Start(offset))?;
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}
