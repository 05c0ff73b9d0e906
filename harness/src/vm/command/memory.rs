//! Memory that QEMU shares with the harness, and with virtiofsd.

use std::ffi::OsString;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

use protocol::shared_memory::{ARCHIVE_SLOT, OUTPUT_SLOT};
use protocol::{job::tag, output::BYTES};

use super::device::{Device, escape};
use crate::vm::channel::inherited;
use crate::vm::config::Streams;
use crate::vm::role::Role;

/// The shared memory with the archive of a restored VM; see [`protocol::handover`].
pub(super) fn window(role: &Role) -> Device {
    let (mut device, parts) = (Device::default(), role.parts());
    let options = format!("readonly=on,{}", role.share());
    let window = memory("window", parts.window_bytes, &parts.window, &options);
    device.qemu.extend(window);
    device.qemu.extend(shared_memory("window", ARCHIVE_SLOT));
    device
}

/// The shared memory for the output of a program, if it is connected; see [`protocol::output`]. QEMU cannot save a VM and
/// restore it with memory that stays shared, so a template is saved without: a restored guest finds a new device.
pub(super) fn output_memory(streams: Option<&Streams<'_>>) -> Device {
    let Some(file) = streams.and_then(|streams| streams.memory) else {
        return Device::default();
    };
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let object = format!("memory-backend-file,id=output,size={BYTES},mem-path={path},share=on");
    let mut device = Device::new(&["-object", &object], &[]);
    device.qemu.extend(shared_memory("output", OUTPUT_SLOT));
    device
}

/// The PCI device with the memory of this id. Without `master` QEMU refuses to save a VM that has it.
fn shared_memory(id: &str, slot: u8) -> [OsString; 2] {
    let device = format!("ivshmem-plain,memdev={id},master=on,addr={slot:#x}");
    ["-device".into(), device.into()]
}

pub(super) fn memory(id: &str, size: u64, file: &OwnedFd, options: &str) -> [OsString; 2] {
    let path = inherited(file);
    let object = format!(
        "memory-backend-file,id={id},size={size},mem-path={},{options}",
        path.display()
    );
    ["-object".into(), object.into()]
}

/// A folder of the host, whose virtiofsd reads and writes the memory of the VM.
pub(super) fn mount(number: usize, socket: &Path) -> Device {
    let tag = tag(number);
    let mut chardev = OsString::from(format!("socket,id={tag},path="));
    chardev.push(escape(socket.as_os_str()));
    let device = format!("vhost-user-fs-pci,chardev={tag},tag={tag}");
    let qemu = ["-chardev".into(), chardev, "-device".into(), device.into()];
    Device {
        qemu: qemu.into(),
        kernel: Vec::new(),
    }
}
