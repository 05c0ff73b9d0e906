//! Serial ports: the console, the events, and the streams of a program.

use std::ffi::OsString;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use protocol::shared_memory::ARCHIVE_SLOT;

use super::device::{Device, escape};
use crate::vm::config::{Config, Streams};
use crate::vm::machine::Machine;

/// The PCI slot of the card with serial ports. Those of shared memory follow it.
const SERIAL_SLOT: u8 = ARCHIVE_SLOT - 1;

/// The first serial port of the machine. Every kernel has its driver built in.
pub(super) fn console(config: &Config<'_>, path: &Path) -> Device {
    let kernel = format!("console={}", Machine::of(config.arch).console);
    let mut device = Device::new(&[], &[&kernel]);
    device.qemu.extend(to_file("console", path));
    let serial = ["-serial", "chardev:console"].map(OsString::from);
    device.qemu.extend(serial);
    device
}

/// The 8250 ports `ttyS1` for events, and `ttyS2` and `ttyS3` for the streams of a program, if there is one. QEMU inherits
/// the descriptors.
pub(super) fn ports(config: &Config<'_>, events: &Path) -> Device {
    let mut device = Device::default();
    device.qemu.extend(to_file("events", events));
    let mut ids = vec!["events"];
    if let Some(Streams { output, input, .. }) = config.streams {
        let output = output.map_or("null,id=output".to_owned(), |end| {
            format!("file,id=output,path=/proc/self/fd/{}", end.as_raw_fd())
        });
        let input = input.map_or("null,id=input".to_owned(), |end| {
            format!("socket,id=input,fd={}", end.as_raw_fd())
        });
        let chardevs = ["-chardev", &output, "-chardev", &input].map(OsString::from);
        device.qemu.extend(chardevs);
        ids.extend(["output", "input"]);
    }
    if Machine::of(config.arch).has_serial_card {
        device.qemu.extend(serial_card(&ids));
        return device;
    }
    for id in ids {
        let serial = ["-serial".into(), format!("chardev:{id}").into()];
        device.qemu.extend(serial);
    }
    device
}

/// A PCI card with four 8250 ports, of which the first is not connected.
fn serial_card(ids: &[&str]) -> Vec<OsString> {
    let mut arguments = Vec::new();
    let mut card = format!("pci-serial-4x,addr={SERIAL_SLOT:#x}");
    for port in 0..4_usize {
        let id = port.checked_sub(1).and_then(|at| ids.get(at));
        let unused = format!("unused{port}");
        if id.is_none() {
            let null = ["-chardev".into(), format!("null,id={unused}").into()];
            arguments.extend(null);
        }
        let id = id.map_or(&*unused, |id| id);
        card.push_str(&format!(",chardev{}={id}", port + 1));
    }
    arguments.extend(["-device".into(), card.into()]);
    arguments
}

/// A chardev that writes to a file.
fn to_file(id: &str, path: &Path) -> [OsString; 2] {
    let mut chardev = OsString::from(format!("file,id={id},path="));
    chardev.push(escape(path.as_os_str()));
    ["-chardev".into(), chardev]
}
