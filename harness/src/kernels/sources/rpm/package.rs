//! The signature of an RPM package: it covers the header, which has the checksum of the payload.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, Result, bail};
use rpm::{IndexTag, PackageMetadata};
use sha2::{Digest, Sha256};

use crate::kernels::trust::openpgp::Keyring;
use crate::support::hex::hex;

/// Verifies that a key of the keyring has signed this package, and that it is the one with this name (`NAME-VERSION-RELEASE`).
pub(crate) fn verify(path: &Path, name: &str, keyring: &Keyring) -> Result<()> {
    let mut file = BufReader::new(File::open(path)?);
    let metadata = PackageMetadata::parse(&mut file).context("this is not an RPM package")?;
    let offsets = metadata.get_package_segment_offsets();
    let length = offsets
        .payload
        .checked_sub(offsets.header)
        .context("it has no header")?;
    file.seek(SeekFrom::Start(offsets.header))?;
    let mut header = Vec::new();
    Read::by_ref(&mut file)
        .take(length)
        .read_to_end(&mut header)?;
    let signatures = metadata
        .raw_signatures()
        .context("its signature cannot be read")?;
    keyring.verify_binary(&header, &signatures)?;

    let signed = metadata
        .header
        .get_entry_data_as_string(IndexTag::RPMTAG_PAYLOADSHA256)
        .context("its header has no SHA-256 of its payload")?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n => hash.update(&buffer[..n]),
        }
    }
    if hex(&hash.finalize()) != signed.to_ascii_lowercase() {
        bail!("its payload differs from the SHA-256 in its signed header");
    }
    let is = format!(
        "{}-{}-{}",
        metadata.get_name()?,
        metadata.get_version()?,
        metadata.get_release()?
    );
    if is != name {
        bail!("it is {is} instead of {name}");
    }
    Ok(())
}
