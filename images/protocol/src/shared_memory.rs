//! The memory that host and guest share: PCI devices of QEMU, which the guest maps without a driver.

/// PCI vendor and device id of `ivshmem`, as in sysfs.
pub const DEVICE: (&str, &str) = ("0x1af4", "0x1110");

/// The file of the memory in the sysfs directory of a device: BAR 2.
pub const RESOURCE: &str = "resource2";

/// The PCI slot of the device with the archive for a restored VM; see [`crate::handover`].
pub const ARCHIVE_SLOT: u8 = 0x1d;

/// The PCI slot of the device with the output of a command; see [`crate::output`].
pub const OUTPUT_SLOT: u8 = 0x1e;

/// The sysfs directory of the device in a slot.
pub fn directory(slot: u8) -> String {
    format!("/sys/bus/pci/devices/0000:00:{slot:02x}.0")
}
