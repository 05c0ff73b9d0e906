//! Memory that the host shares through a PCI device; see [`protocol::shared_memory`].

mod sys;

use std::fs::{self, OpenOptions};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use protocol::shared_memory::{DEVICE, RESOURCE, directory};

pub use sys::Mapping;

/// Maps the memory of the device in this PCI slot; `writable` if the host reads it.
///
/// # Errors
///
/// There is no such device, or the kernel does not let it be mapped, as under lockdown.
pub fn map(slot: u8, writable: bool) -> Result<Mapping> {
    let directory = directory(slot);
    let device = Path::new(&directory);
    if !device.exists() {
        // A restored VM may have a device that it was not saved with.
        let _ = fs::write("/sys/bus/pci/rescan", "1");
    }
    let is = |name: &str, value: &str| {
        fs::read_to_string(device.join(name)).is_ok_and(|text| text.trim() == value)
    };
    ensure!(
        is("vendor", DEVICE.0) && is("device", DEVICE.1),
        "the kernel shows no ivshmem PCI device at {directory}"
    );
    // The firmware may have left it disabled.
    let _ = fs::write(device.join("enable"), "1");
    let path = device.join(RESOURCE);
    let open = || {
        let file = OpenOptions::new().read(true).write(writable).open(&path)?;
        let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        anyhow::Ok(Mapping::new(&file, length, writable)?)
    };
    open().with_context(|| format!("cannot map {} (is the kernel locked down?)", path.display()))
}
