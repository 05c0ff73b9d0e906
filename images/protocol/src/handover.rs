//! How a restored VM gets its initramfs: through [shared memory](crate::shared_memory), which the waiting init has mapped.
//!
//! The memory starts with a [`Header`]; the archive follows at offset [`HEADER`]: the same initramfs as for a cold
//! boot. A VM is saved with zeroed memory.

/// Offset of the archive in bytes: one page.
pub const HEADER: usize = 4096;

/// Bytes of the random seed.
pub const SEED: usize = 64;

/// The first bytes of the memory once it holds an archive.
pub const MAGIC: [u8; 8] = *b"fexit\0\x01\n";

/// What the host passes in addition to the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Length of the archive in bytes.
    pub length: u64,
    /// The time in nanoseconds since 1970: the clock of a saved VM is stopped.
    pub time_ns: u64,
    /// A random seed: otherwise all VMs from one save would generate the same random numbers.
    pub seed: [u8; SEED],
}

impl Header {
    /// Size of a header in bytes.
    pub const SIZE: usize = MAGIC.len() + 8 + 8 + SEED;

    /// The encoded header.
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.length.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.time_ns.to_le_bytes());
        bytes[24..].copy_from_slice(&self.seed);
        bytes
    }

    /// Decodes a header. `None` if there is none.
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
    fn header_round_trips_and_zeroed_memory_has_none() {
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
