//! The shared memory with the initramfs; see [`protocol::handover`].

use anyhow::{Context as _, Result};
use guest::shared_memory::{self, Mapping};
use protocol::handover::{HEADER, Header, MAGIC};
use protocol::shared_memory::ARCHIVE_SLOT;

/// The mapped memory. Mapping it before the VM is saved spares each restored VM the work.
pub(crate) struct SharedMemory(Mapping);

impl SharedMemory {
    /// Finds and maps the PCI device.
    pub(crate) fn find() -> Result<Self> {
        shared_memory::map(ARCHIVE_SLOT, false).map(Self)
    }

    /// Waits for the header, spinning: a VM that was saved asleep would first have to wake up.
    pub(crate) fn wait(&self) -> Header {
        loop {
            // The host has written all of the memory when the VM continues.
            if self.0.first() == MAGIC
                && let Some(header) = Header::from_bytes(self.0.bytes())
            {
                return header;
            }
            std::hint::spin_loop();
        }
    }

    /// The archive that the header describes.
    pub(crate) fn archive(&self, header: &Header) -> Result<&[u8]> {
        let length = usize::try_from(header.length)?;
        self.0
            .bytes()
            .get(HEADER..)
            .and_then(|behind| behind.get(..length))
            .with_context(|| format!("the archive of {length} bytes exceeds the shared memory"))
    }
}
