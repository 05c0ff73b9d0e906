//! QEMU's command line.
//!
//! Many devices need arguments for QEMU and arguments for the kernel. A [`Device`] has both.

mod device;
mod memory;
mod serial;

use std::ffi::OsString;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::LazyLock;

use self::device::{Device, escape};
use self::memory::{memory, mount, output_memory, window};
use self::serial::{console, ports};
use super::accel::Accelerator;
use super::config::Config;
use super::machine::Machine;
use super::role::{Parts, Role};

/// The files that QEMU reads and writes.
#[derive(Clone, Debug)]
pub(super) struct Paths<'a> {
    pub(super) initramfs: &'a Path,
    pub(super) console: &'a Path,
    pub(super) events: &'a Path,
    pub(super) role: Option<&'a Role>,
}

/// QEMU's arguments.
pub(super) fn arguments(config: &Config<'_>, paths: &Paths<'_>) -> Vec<OsString> {
    let devices = devices(config, paths);
    let append = append(config, &devices);
    let mut arguments: Vec<_> = devices.into_iter().flat_map(|device| device.qemu).collect();
    if !paths.role.is_some_and(Role::is_restored) {
        arguments.extend(["-append".into(), append.into()]);
    }
    arguments.extend(config.qemu_args.iter().cloned());
    arguments
}

/// QEMU's arguments without the paths of its files.
pub(super) fn arguments_anywhere(config: &Config<'_>) -> Vec<OsString> {
    arguments(config, &NOWHERE)
}

/// The kernel's command line.
pub fn kernel_command_line(config: &Config<'_>) -> String {
    append(config, &devices(config, &NOWHERE))
}

/// Empty paths, for arguments that do not depend on them.
static NOWHERE: LazyLock<Paths<'static>> = LazyLock::new(|| Paths {
    initramfs: Path::new(""),
    console: Path::new(""),
    events: Path::new(""),
    role: None,
});

fn devices(config: &Config<'_>, paths: &Paths<'_>) -> Vec<Device> {
    let mut devices = vec![
        machine(config, paths.role),
        console(config, paths.console),
        ports(config, paths.events),
        output_memory(config.streams.as_ref()),
        exit_on_panic(),
        log_level(),
        skipped_tests(config),
        config.gdb.map(debugger).unwrap_or_default(),
    ];
    let mounts = config.mounts.iter().enumerate();
    devices.extend(mounts.map(|(number, socket)| mount(number, socket)));
    if let Some(role) = paths.role {
        devices.push(window(role));
        devices.push(monitor(role.parts()));
    }
    devices.push(if paths.role.is_some_and(Role::is_restored) {
        Device::new(&["-incoming", "defer"], &[])
    } else {
        loader(config.kernel, paths.initramfs)
    });
    devices
}

fn append(config: &Config<'_>, devices: &[Device]) -> String {
    let own = devices.iter().flat_map(|device| &device.kernel);
    own.chain(&config.kernel_args)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Only the devices that are named here: no network, no disk, no display, no user configuration.
fn machine(config: &Config<'_>, role: Option<&Role>) -> Device {
    let of_arch = Machine::of(config.arch);
    let mut machine = of_arch.machine(config.accelerator).to_owned();
    if role.is_some() || !config.mounts.is_empty() {
        machine.push_str(",memory-backend=ram");
    }
    let mut device = Device::new(
        &[
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-machine",
            &machine,
            "-accel",
            &accelerator(config),
            "-cpu",
            of_arch.cpu(config.accelerator),
            "-m",
            &config.memory_mib.to_string(),
            "-smp",
            &config.cpus.to_string(),
        ],
        &[],
    );
    if config.icount {
        device
            .qemu
            .extend(["-icount".into(), "shift=0,sleep=off".into()]);
    }
    let size = u64::from(config.memory_mib) << 20;
    if !config.mounts.is_empty() {
        let ram = format!("memory-backend-memfd,id=ram,size={size},share=on");
        device.qemu.extend(["-object".into(), ram.into()]);
    } else if let Some(role) = role {
        let ram = memory("ram", size, &role.parts().ram, role.share());
        device.qemu.extend(ram);
    }
    device
}

fn accelerator(config: &Config<'_>) -> String {
    let name = config.accelerator.name();
    let one_thread = Machine::of(config.arch).tcg_one_thread && config.cpus > 1;
    match config.accelerator {
        Accelerator::Tcg if one_thread => format!("{name},thread=single"),
        Accelerator::Tcg | Accelerator::Kvm => name.to_owned(),
    }
}

fn monitor(parts: &Parts) -> Device {
    let socket = format!("socket,id=monitor,fd={}", parts.monitor.as_raw_fd());
    Device::new(
        &["-chardev", &socket, "-mon", "chardev=monitor,mode=control"],
        &[],
    )
}

fn loader(kernel: &Path, initramfs: &Path) -> Device {
    let qemu = [
        "-kernel".into(),
        kernel.into(),
        "-initrd".into(),
        initramfs.into(),
    ];
    Device {
        qemu: qemu.into(),
        kernel: Vec::new(),
    }
}

/// A panic reboots, and a reboot ends QEMU.
fn exit_on_panic() -> Device {
    Device::new(&["-no-reboot"], &["panic=-1"])
}

/// Prints warnings and errors, but no informational messages: each byte on the console costs an exit from the guest.
/// `quiet` alone would hide warnings too.
fn log_level() -> Device {
    Device::new(&[], &["quiet", "loglevel=5"])
}

/// Skips self-tests that are not about BPF.
fn skipped_tests(config: &Config<'_>) -> Device {
    let mut device = Device::new(&[], &["cryptomgr.notests"]);
    if config.accelerator == Accelerator::Tcg {
        let more = Machine::of(config.arch).tcg_argument;
        device.kernel.extend(more.map(str::to_owned));
    }
    device
}

/// Waits for a debugger. The addresses in the kernel's files hold without KASLR.
fn debugger(socket: &Path) -> Device {
    let mut chardev = OsString::from("socket,id=gdb,server=on,wait=off,path=");
    chardev.push(escape(socket.as_os_str()));
    let mut device = Device::new(&["-S", "-gdb", "chardev:gdb"], &["nokaslr"]);
    device.qemu.extend(["-chardev".into(), chardev]);
    device
}

#[cfg(test)]
mod tests;
