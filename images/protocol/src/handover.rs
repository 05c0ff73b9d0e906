//! How a VM that was saved while it waited gets its archive: through a window of memory that the host hands in as a
//! PCI device's, and that the waiting init maps.
//!
//! The window begins with a [`Header`], and [`HEADER`] bytes on there is the archive, the very initramfs that a cold
//! boot would have been given. A VM is saved with the window all zero.

/// What a PCI device is called that offers such a window (`ivshmem`): vendor and device, as sysfs shows them.
pub const DEVICE: (&str, &str) = ("0x1af4", "0x1110");

/// The file of the window in the folder of the device.
pub const RESOURCE: &str = "resource2";

/// Where the archive begins, in bytes. One page, because only whole pages can be mapped.
pub const HEADER: usize = 4096;

/// Bytes of randomness that are handed over.
pub const SEED: usize = 64;

/// What the window begins with once there is an archive.
pub const MAGIC: [u8; 8] = *b"fexit\0\x01\n";

/// What the host says besides the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Length of the archive in bytes.
    pub length: u64,
    /// The time, in nanoseconds since 1970: the saved VM's clock stands still.
    pub time_ns: u64,
    /// Randomness: all VMs from one save would draw the same numbers otherwise.
    pub seed: [u8; SEED],
}

impl Header {
    /// Bytes that a header takes.
    pub const SIZE: usize = MAGIC.len() + 8 + 8 + SEED;

    /// As it stands in the window.
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.length.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.time_ns.to_le_bytes());
        bytes[24..].copy_from_slice(&self.seed);
        bytes
    }

    /// `None` where there is no header.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..Self::SIZE)?.strip_prefix(&MAGIC)?;
        let (length, bytes) = bytes.split_first_chunk()?;
        let (time_ns, bytes) = bytes.split_first_chunk()?;
        Some(Self {
            length: u64::from_le_bytes(*length),
            time_ns: u64::from_le_bytes(*time_ns),
            seed: bytes.try_into().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_and_a_window_without_one_has_none() {
        let mut seed = [0; SEED];
        seed[63] = 9;
        let header = Header {
            length: 1 << 40,
            time_ns: u64::MAX,
            seed,
        };
        assert_eq!(Header::from_bytes(&header.to_bytes()), Some(header));
        assert_eq!(Header::from_bytes(&[0; HEADER]), None);
        assert_eq!(
            Header::from_bytes(&header.to_bytes()[..Header::SIZE - 1]),
            None
        );
    }
}
