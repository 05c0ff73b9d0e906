//! The virtual machine of each architecture, as data.

use super::accel::Accelerator;
use crate::kernels::Arch;

/// What QEMU emulates.
#[derive(Debug)]
pub(super) struct Machine {
    /// The program.
    pub(super) program: &'static str,
    /// The package of it on Debian and Ubuntu.
    pub(super) package: &'static str,
    /// The environment variable that names another QEMU than the one on `PATH`.
    pub(super) variable: &'static str,
    /// Without unused devices, which the kernel would probe.
    machine: [&'static str; 2],
    cpu: [&'static str; 2],
    /// The first serial port, as the kernel calls it.
    pub(super) console: &'static str,
    /// Whether the other serial ports, `ttyS1` to `ttyS3`, are those of a PCI card.
    pub(super) has_serial_card: bool,
    /// More arguments for the kernel under TCG.
    pub(super) tcg_argument: Option<&'static str>,
    /// TCG runs all virtual CPUs in one thread.
    pub(super) tcg_one_thread: bool,
}

/// All CPU features of the accelerator, since kernel and JIT choose their code by them. Except for fast `rep movsb` under
/// TCG, which copies byte by byte; without that feature the kernel copies eight bytes at a time.
///
/// With a thread for each virtual CPU, a CPU may execute a breakpoint (`int3`) that the kernel has replaced already, when a
/// program is detached that another CPU runs: kernels from 7.0 on panic, with QEMU 7.2 often, with 10.0 now and then.
///
/// Under TCG the test of the timer fails and panics on a busy host.
const X86_64: Machine = Machine {
    program: "qemu-system-x86_64",
    package: "qemu-system-x86",
    variable: "QEMU",
    machine: ["pc,vmport=off,smbus=off"; 2],
    cpu: ["max", "max,-erms,-fsrm"],
    console: "ttyS0",
    has_serial_card: false,
    tcg_argument: Some("no_timer_check"),
    tcg_one_thread: true,
};

/// The machine has one serial port that kernels have a driver for, and no other than PCI devices can be added.
///
/// QEMU's own algorithm for signed pointers is faster under TCG than the one of real processors. The kernel and programs
/// cannot tell the difference.
const ARM64: Machine = Machine {
    program: "qemu-system-aarch64",
    package: "qemu-system-arm",
    variable: "QEMU_ARM64",
    machine: ["virt,gic-version=host", "virt,gic-version=3"],
    cpu: ["host", "max,pauth-impdef=on"],
    console: "ttyAMA0",
    has_serial_card: true,
    tcg_argument: None,
    tcg_one_thread: false,
};

impl Machine {
    /// The machine for an architecture.
    pub(super) fn of(arch: Arch) -> &'static Self {
        match arch {
            Arch::X86_64 => &X86_64,
            Arch::Arm64 => &ARM64,
        }
    }

    /// The value of `-machine`.
    pub(super) fn machine(&self, accelerator: Accelerator) -> &'static str {
        by(self.machine, accelerator)
    }

    /// The value of `-cpu`.
    pub(super) fn cpu(&self, accelerator: Accelerator) -> &'static str {
        by(self.cpu, accelerator)
    }
}

fn by([kvm, tcg]: [&'static str; 2], accelerator: Accelerator) -> &'static str {
    match accelerator {
        Accelerator::Kvm => kvm,
        Accelerator::Tcg => tcg,
    }
}
