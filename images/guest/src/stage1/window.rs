//! The window through which the host hands in an archive; see [`guest::handover`].

use std::ffi::CStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use guest::handover::{DEVICE, HEADER, Header, MAGIC, RESOURCE};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::sys::Mapping;

const SYS: &str = "/sys";
const DEVICES: &str = "/sys/bus/pci/devices";

pub(crate) struct Window {
    file: File,
    header: Mapping,
}

impl Window {
    /// Looks through the PCI devices. Afterwards nothing is mounted, as before.
    pub(crate) fn find() -> Result<Self> {
        fs::create_dir_all(SYS)?;
        mount("sysfs", SYS, "sysfs", MountFlags::empty(), None::<&CStr>)
            .context("cannot mount sysfs")?;
        let window = Self::open();
        unmount(SYS, UnmountFlags::DETACH).context("cannot unmount sysfs")?;
        window
    }

    fn open() -> Result<Self> {
        let device = device()?;
        // Where the firmware left it off.
        let _ = fs::write(device.join("enable"), "1");
        let path = device.join(RESOURCE);
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let header = Mapping::new(&file, HEADER).with_context(|| {
            format!("cannot map {} (is the kernel locked down?)", path.display())
        })?;
        Ok(Self { file, header })
    }

    /// Waits for the header. Without sleeping: a VM that was saved asleep would first have to wake up.
    pub(crate) fn wait(&self) -> Header {
        loop {
            if self.header.starts_with(MAGIC)
                && let Some(header) = Header::from_bytes(self.header.bytes())
            {
                return header;
            }
            std::hint::spin_loop();
        }
    }

    /// The archive that the header tells of, behind the header.
    pub(crate) fn archive(&self, header: &Header) -> Result<Archive> {
        let length = usize::try_from(header.length)?;
        let mapping =
            Mapping::new(&self.file, HEADER + length).context("cannot map the archive")?;
        Ok(Archive { mapping, length })
    }
}

/// An archive that was handed in.
pub(crate) struct Archive {
    mapping: Mapping,
    length: usize,
}

impl Archive {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.mapping.bytes()[HEADER..HEADER + self.length]
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
