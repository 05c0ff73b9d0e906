//! The window through which the host hands in an archive; see [`protocol::handover`].

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use protocol::handover::{DEVICE, HEADER, Header, MAGIC, RESOURCE};

use crate::sys::Mapping;

const DEVICES: &str = "/sys/bus/pci/devices";

/// All of it, mapped before the VM is saved: what is done by then is not done again.
pub(crate) struct Window(Mapping);

impl Window {
    /// Looks through the PCI devices.
    pub(crate) fn find() -> Result<Self> {
        let device = device()?;
        // Where the firmware left it off.
        let _ = fs::write(device.join("enable"), "1");
        let path = device.join(RESOURCE);
        let open = || {
            let file = File::open(&path)?;
            let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
            anyhow::Ok(Mapping::new(&file, length)?)
        };
        let window = open().with_context(|| {
            format!("cannot map {} (is the kernel locked down?)", path.display())
        })?;
        Ok(Self(window))
    }

    /// Waits for the header. Without sleeping: a VM that was saved asleep would first have to wake up.
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

    /// The archive that the header tells of, behind the header.
    pub(crate) fn archive(&self, header: &Header) -> Result<&[u8]> {
        let length = usize::try_from(header.length)?;
        self.0
            .bytes()
            .get(HEADER..)
            .and_then(|behind| behind.get(..length))
            .with_context(|| format!("an archive of {length} bytes is more than the window holds"))
    }
}

fn device() -> Result<PathBuf> {
    let is = |path: &Path, name: &str, value: &str| {
        fs::read_to_string(path.join(name)).is_ok_and(|text| text.trim() == value)
    };
    fs::read_dir(DEVICES)
        .context("the kernel has no PCI bus")?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| is(path, "vendor", DEVICE.0) && is(path, "device", DEVICE.1))
        .context("the kernel sees no device with a window")
}
