//! The shared memory with the initramfs; see [`protocol::handover`].

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use protocol::handover::{DEVICE, HEADER, Header, MAGIC, RESOURCE};

use crate::sys::Mapping;

const DEVICES: &str = "/sys/bus/pci/devices";

/// The mapped memory. Mapping it before the VM is saved spares each restored VM the work.
pub(crate) struct SharedMemory(Mapping);

impl SharedMemory {
    /// Finds and maps the PCI device.
    pub(crate) fn find() -> Result<Self> {
        let device = device()?;
        // The firmware may have left it disabled.
        let _ = fs::write(device.join("enable"), "1");
        let path = device.join(RESOURCE);
        let open = || {
            let file = File::open(&path)?;
            let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
            anyhow::Ok(Mapping::new(&file, length)?)
        };
        let mapping = open().with_context(|| {
            format!("cannot map {} (is the kernel locked down?)", path.display())
        })?;
        Ok(Self(mapping))
    }

    /// Waits for the header, spinning: a VM that was saved asleep would first have to wake up.
    pub(crate) fn wait(&self) -> Header {
        loop {
            if self.0.starts_with(MAGIC)
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

fn device() -> Result<PathBuf> {
    let is = |path: &Path, name: &str, value: &str| {
        fs::read_to_string(path.join(name)).is_ok_and(|text| text.trim() == value)
    };
    fs::read_dir(DEVICES)
        .context(format!("cannot list {DEVICES}: the kernel has no PCI bus"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| is(path, "vendor", DEVICE.0) && is(path, "device", DEVICE.1))
        .context("the kernel has no ivshmem PCI device")
}
