//! QEMU's command line.
//!
//! Many devices need arguments for QEMU and arguments for the kernel. A [`Device`] has both.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::LazyLock;

use protocol::shared_memory::{ARCHIVE_SLOT, OUTPUT_SLOT};
use protocol::{job::tag, output::BYTES};

use super::accel::Accelerator;
use super::channel::inherited;
use super::config::{Config, Streams};
use super::machine::Machine;
use super::role::{Parts, Role};

/// The PCI slot of the card with serial ports. Those of shared memory follow it.
const SERIAL_SLOT: u8 = ARCHIVE_SLOT - 1;

/// A device: its arguments for QEMU and for the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Device {
    qemu: Vec<OsString>,
    kernel: Vec<String>,
}

/// The files that QEMU reads and writes.
#[derive(Clone, Debug)]
pub(super) struct Paths<'a> {
    pub(super) initramfs: &'a Path,
    pub(super) console: &'a Path,
    pub(super) events: &'a Path,
    pub(super) role: Option<&'a Role>,
}

impl Device {
    fn new(qemu: &[&str], kernel: &[&str]) -> Self {
        Self {
            qemu: qemu.iter().map(OsString::from).collect(),
            kernel: kernel.iter().map(|&arg| arg.to_owned()).collect(),
        }
    }
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

/// The shared memory with the archive of a restored VM; see [`protocol::handover`].
fn window(role: &Role) -> Device {
    let (mut device, parts) = (Device::default(), role.parts());
    let options = format!("readonly=on,{}", role.share());
    let window = memory("window", parts.window_bytes, &parts.window, &options);
    device.qemu.extend(window);
    device.qemu.extend(shared_memory("window", ARCHIVE_SLOT));
    device
}

/// The shared memory for the output of a program, if it is connected; see [`protocol::output`]. QEMU cannot save a VM and
/// restore it with memory that stays shared, so a template is saved without: a restored guest finds a new device.
fn output_memory(streams: Option<&Streams<'_>>) -> Device {
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

fn memory(id: &str, size: u64, file: &OwnedFd, options: &str) -> [OsString; 2] {
    let path = inherited(file);
    let object = format!(
        "memory-backend-file,id={id},size={size},mem-path={},{options}",
        path.display()
    );
    ["-object".into(), object.into()]
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

/// The first serial port of the machine. Every kernel has its driver built in.
fn console(config: &Config<'_>, path: &Path) -> Device {
    let kernel = format!("console={}", Machine::of(config.arch).console);
    let mut device = Device::new(&[], &[&kernel]);
    device.qemu.extend(to_file("console", path));
    let serial = ["-serial", "chardev:console"].map(OsString::from);
    device.qemu.extend(serial);
    device
}

/// The 8250 ports `ttyS1` for events, and `ttyS2` and `ttyS3` for the streams of a program, if there is one. QEMU inherits
/// the descriptors.
fn ports(config: &Config<'_>, events: &Path) -> Device {
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

/// A folder of the host, whose virtiofsd reads and writes the memory of the VM.
fn mount(number: usize, socket: &Path) -> Device {
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

/// Doubles the commas in the value of an option, as QEMU requires.
fn escape(value: &OsStr) -> OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let mut escaped = Vec::with_capacity(value.len());
    for &byte in value.as_bytes() {
        escaped.extend_from_slice(if byte == b',' {
            b",,"
        } else {
            std::slice::from_ref(&byte)
        });
    }
    OsString::from_vec(escaped)
}

/// A shell command that runs `program` with `arguments`.
pub(super) fn shell_line(program: &Path, arguments: &[OsString]) -> String {
    std::iter::once(program.as_os_str())
        .chain(arguments.iter().map(OsString::as_os_str))
        .map(quote)
        .collect::<Vec<_>>()
        .join(" ")
}

fn quote(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+:,./@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use crate::kernels::Arch;
    use std::os::unix::ffi::OsStringExt;
    use std::process::Command;

    use super::*;

    fn strings(arguments: &[OsString]) -> Vec<&str> {
        arguments
            .iter()
            .map(|argument| argument.to_str().unwrap())
            .collect()
    }

    fn arguments_of(change: impl FnOnce(&mut Config<'_>)) -> Vec<OsString> {
        let mut config = Config::new(Path::new("/boot/vmlinuz"), b"", Accelerator::Tcg);
        change(&mut config);
        let paths = Paths {
            initramfs: Path::new("/i"),
            console: Path::new("/c"),
            events: Path::new("/e,f"),
            role: None,
        };
        arguments(&config, &paths)
    }

    #[test]
    fn qemu_and_kernel_arguments_of_a_device_come_together() {
        let all = arguments_of(|config| config.kernel_args = vec!["last".into()]);
        let all = strings(&all);
        for half in [
            &[
                "-chardev",
                "file,id=console,path=/c",
                "-serial",
                "chardev:console",
            ][..],
            &[
                "-chardev",
                "file,id=events,path=/e,,f",
                "-serial",
                "chardev:events",
            ],
            &["-kernel", "/boot/vmlinuz", "-initrd", "/i"],
            &["-accel", "tcg"],
            &["-no-reboot"],
        ] {
            assert!(
                all.windows(half.len()).any(|window| window == half),
                "{half:?}"
            );
        }
        let kernel =
            "console=ttyS0 panic=-1 quiet loglevel=5 cryptomgr.notests no_timer_check last";
        assert_eq!(all[all.len() - 2..], ["-append", kernel]);
    }

    #[test]
    fn debugger_connects_to_a_socket_and_the_kernel_has_its_usual_addresses() {
        let all = arguments_of(|config| config.gdb = Some(Path::new("/a,b/gdb")));
        let all = strings(&all);
        let socket = "socket,id=gdb,server=on,wait=off,path=/a,,b/gdb";
        for pair in [["-gdb", "chardev:gdb"], ["-chardev", socket]] {
            assert!(all.windows(2).any(|window| window == pair), "{all:?}");
        }
        assert!(all.contains(&"-S") && all.last().unwrap().ends_with(" nokaslr"));
        let all = arguments_of(|_| {});
        let all = strings(&all);
        assert!(!all.contains(&"-S") && !all.last().unwrap().contains("nokaslr"));
    }

    #[test]
    fn memory_is_shared_with_what_serves_folders() {
        let mounts = vec!["/s/0".into(), "/s/1".into()];
        let all = arguments_of(|config| config.mounts = mounts);
        let all = strings(&all);
        for pair in [
            ["-machine", "pc,vmport=off,smbus=off,memory-backend=ram"],
            [
                "-object",
                "memory-backend-memfd,id=ram,size=536870912,share=on",
            ],
            ["-chardev", "socket,id=mount1,path=/s/1"],
            ["-device", "vhost-user-fs-pci,chardev=mount1,tag=mount1"],
        ] {
            assert!(
                all.windows(2).any(|window| window == pair),
                "{pair:?} {all:?}"
            );
        }
    }

    #[test]
    fn arm64_has_its_events_on_the_second_port_of_a_card() {
        for (streams, ports) in [
            (None, "unused2,chardev4=unused3"),
            (Some(Streams::default()), "output,chardev4=input"),
        ] {
            let all = arguments_of(|config| {
                config.arch = Arch::Arm64;
                config.streams = streams;
            });
            let all = strings(&all);
            let card = format!(
                "pci-serial-4x,addr=0x1c,chardev1=unused0,chardev2=events,chardev3={ports}"
            );
            for pair in [
                ["-device", &card],
                ["-serial", "chardev:console"],
                ["-cpu", "max,pauth-impdef=on"],
            ] {
                assert!(
                    all.windows(2).any(|window| window == pair),
                    "{pair:?} is not in {all:?}"
                );
            }
            assert_eq!(all.iter().filter(|word| **word == "-serial").count(), 1);
            let kernel = "console=ttyAMA0 panic=-1 quiet loglevel=5 cryptomgr.notests";
            assert_eq!(all[all.len() - 2..], ["-append", kernel]);
            // Every port of the card is connected to what exists.
            for id in card
                .split(['=', ','])
                .filter(|word| word.starts_with("unused"))
            {
                assert!(all.contains(&format!("null,id={id}").as_str()), "{id}");
            }
        }
    }

    #[test]
    fn arguments_of_the_user_come_last() {
        let own = arguments_of(|_| {});
        let all = arguments_of(|config| config.qemu_args = ["-m", "1G"].map(Into::into).into());
        assert_eq!(all, [&own[..], &["-m".into(), "1G".into()]].concat());
    }

    #[test]
    fn cpus_share_a_thread_under_tcg() {
        for (accelerator, cpus, expected) in [
            (Accelerator::Tcg, 1, "tcg"),
            (Accelerator::Tcg, 2, "tcg,thread=single"),
            (Accelerator::Kvm, 2, "kvm"),
        ] {
            let all = arguments_of(|config| {
                config.accelerator = accelerator;
                config.cpus = cpus;
            });
            let all = strings(&all);
            let pair = ["-accel", expected];
            assert!(all.windows(2).any(|window| window == pair), "{all:?}");
        }
    }

    #[test]
    fn timer_check_is_on_only_with_kvm() {
        let all = arguments_of(|config| config.accelerator = Accelerator::Kvm);
        let all = strings(&all);
        for pair in [["-accel", "kvm"], ["-cpu", "max"]] {
            assert!(all.windows(2).any(|window| window == pair), "{pair:?}");
        }
        assert!(!all.last().unwrap().contains("no_timer_check"));
    }

    #[test]
    fn shell_quoting_round_trips() {
        let words = [
            "",
            "plain-word=1,2",
            "two words",
            "it's",
            "$HOME `x` \\ \"",
            "a\nb",
            "~",
            "#",
            "*",
            "ü",
        ];
        let arguments: Vec<_> = std::iter::once("%s\\0")
            .chain(words)
            .map(OsString::from)
            .collect();
        let line = shell_line(Path::new("printf"), &arguments);
        let output = Command::new("sh").args(["-c", &line]).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(printed.split_terminator('\0').collect::<Vec<_>>(), words);
    }

    #[test]
    fn commas_in_paths_are_doubled() {
        let path = OsString::from_vec(b"a,\xff,,".to_vec());
        assert_eq!(escape(&path).into_vec(), b"a,,\xff,,,,");
    }
}
