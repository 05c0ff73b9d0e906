//! For tests of VMs: a kernel, an init with faults, and VMs with both.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use harness::initramfs::cpio;
use harness::{kernels::Kernels, support::progress::Silent};
use harness::{
    support::stop::Stop,
    vm::{Accelerator, Config, Finished, Qemu, Vm, VmEvent},
};
use protocol::event::Event;

/// The kernel that the tests boot: the image that `FEXIT_TEST_KERNEL` names, otherwise Debian's 5.10.
pub(crate) fn kernel() -> PathBuf {
    if let Some(path) = env::var_os("FEXIT_TEST_KERNEL") {
        return PathBuf::from(path)
            .canonicalize()
            .expect("the kernel that FEXIT_TEST_KERNEL names");
    }
    let kernels = Kernels::open(crate::support::kernel_options()).unwrap();
    let resolved = kernels.resolve("5.10", &Silent).unwrap();
    kernels.fetch(&resolved, &Silent).unwrap().image
}

/// The `/init` of `tests/it/support/engine/init`, built once for each test program.
fn init() -> &'static [u8] {
    static INIT: OnceLock<Vec<u8>> = OnceLock::new();
    INIT.get_or_init(|| {
        let source =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/engine/init/main.rs");
        let dir = tempfile::tempdir().unwrap();
        let built = dir.path().join("init");
        let status = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
            .args([
                "--edition",
                "2024",
                "-C",
                "target-feature=+crt-static",
                "-C",
                "panic=abort",
            ])
            .args(["-C", "opt-level=s", "-C", "strip=symbols", "-o"])
            .args([&built, &source])
            .status()
            .expect("rustc");
        assert!(status.success(), "rustc: {status}");
        fs::read(built).unwrap()
    })
}

/// An image whose init has the fault `mode`.
pub(crate) fn image(mode: &str) -> Vec<u8> {
    let mut image = cpio::Initramfs::new();
    image
        .char_device("/dev/console", 0o600, (5, 1))
        .and_then(|image| image.char_device("/dev/ttyS1", 0o600, (4, 65)))
        .and_then(|image| image.char_device("/dev/kmsg", 0o600, (1, 11)))
        .and_then(|image| image.file("/init", 0o755, init()))
        .and_then(|image| image.file("/mode", 0o644, mode.as_bytes()))
        .unwrap();
    image.to_bytes()
}

/// The output of one VM.
pub(crate) struct Seen {
    pub(crate) finished: Finished,
    pub(crate) events: Vec<Event>,
    pub(crate) garbage: Vec<(String, String)>,
    pub(crate) console: Vec<String>,
}

/// Boots `image` under TCG; `change` changes the configuration.
pub(crate) fn boot(mode: &str, change: impl FnOnce(&mut Config<'_>)) -> Seen {
    let (kernel, image) = (kernel(), image(mode));
    let mut config = Config::new(&kernel, &image, Accelerator::Tcg);
    // This init uses no token.
    config.token = "";
    change(&mut config);
    run(&crate::support::qemu(), &config, &Stop::new().unwrap())
}

/// Runs one VM to its end.
pub(crate) fn run(qemu: &Qemu, config: &Config<'_>, stop: &Stop) -> Seen {
    let (mut events, mut garbage, mut console) = (Vec::new(), Vec::new(), Vec::new());
    let finished = Vm::start(qemu, config)
        .unwrap()
        .run(stop, &mut |event: VmEvent| match event {
            VmEvent::Guest(event) => events.push(event),
            VmEvent::Garbage { line, reason } => garbage.push((line, reason)),
            VmEvent::Console(line) => console.push(line),
        })
        .unwrap();
    Seen {
        finished,
        events,
        garbage,
        console,
    }
}
