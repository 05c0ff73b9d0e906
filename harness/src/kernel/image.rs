//! What a kernel image says of itself.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Offsets in the setup header of a bzImage (the kernel's documentation: x86/boot).
const MAGIC: u64 = 0x202;
const VERSION_POINTER: u64 = 0x20e;
const SETUP: u64 = 0x200;

/// `uname -r` of a bzImage.
pub(super) fn release(path: &Path) -> Result<String> {
    let context = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(context)?;
    let mut magic = [0; 4];
    if read_at(&mut file, MAGIC, &mut magic).with_context(context)? < 4 || &magic != b"HdrS" {
        bail!("{} is no x86 kernel image (bzImage)", path.display());
    }
    let mut pointer = [0; 2];
    read_at(&mut file, VERSION_POINTER, &mut pointer).with_context(context)?;
    let mut text = [0; 256];
    let n = read_at(
        &mut file,
        SETUP + u64::from(u16::from_le_bytes(pointer)),
        &mut text,
    )
    .with_context(context)?;
    let text = text[..n].split(|&b| b == 0).next().unwrap_or_default();
    match text.split(|&b| b == b' ').next().map(std::str::from_utf8) {
        Some(Ok(release)) if release.starts_with(|c: char| c.is_ascii_digit()) => {
            Ok(release.to_owned())
        }
        _ => bail!("{} does not say which release it is", path.display()),
    }
}

/// Reads as much as there is.
fn read_at(file: &mut File, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
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
