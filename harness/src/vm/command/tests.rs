use crate::kernels::Arch;

use super::*;
use crate::vm::config::Streams;

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
    let kernel = "console=ttyS0 panic=-1 quiet loglevel=5 cryptomgr.notests no_timer_check last";
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
        let card =
            format!("pci-serial-4x,addr=0x1c,chardev1=unused0,chardev2=events,chardev3={ports}");
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
