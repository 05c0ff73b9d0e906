//! The configuration of a VM.

use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::accel::Accelerator;
use super::template::Template;
use crate::initramfs::cpio;
use crate::kernels::Arch;

/// The configuration of a VM.
#[derive(Clone, Debug)]
pub struct Config<'a> {
    /// The architecture of the kernel; x86-64 if nothing else is set.
    pub arch: Arch,
    /// The kernel, in any form that QEMU loads.
    pub kernel: &'a Path,
    /// The initramfs, as [`cpio::build`] makes it.
    pub initramfs: &'a [u8],
    /// The accelerator.
    pub accelerator: Accelerator,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// The guest's clock advances by one nanosecond for each instruction. Only for TCG.
    pub icount: bool,
    /// Virtual CPUs.
    pub cpus: u32,
    /// More arguments for the kernel, after the harness's own.
    pub kernel_args: Vec<String>,
    /// More arguments for QEMU, after the harness's own.
    pub qemu_args: Vec<OsString>,
    /// Wait at this socket for a debugger before the first instruction. There is no time limit then.
    pub gdb: Option<&'a Path>,
    /// Sockets of virtiofsd, which serves folders of the host.
    pub mounts: Vec<PathBuf>,
    /// Time limits.
    pub limits: Limits,
    /// The token of every event, as in the job of the initramfs: see [`cpio::token`]. Empty if events need none.
    pub token: &'a str,
    /// The streams of the program, if the VM runs one.
    pub streams: Option<Streams<'a>>,
    /// Restore this template instead of booting. It must be for such a VM.
    pub template: Option<&'a Template>,
    /// Write console log, events, initramfs and the command to this folder.
    pub keep: Option<&'a Path>,
}

/// QEMU's ends of the streams of a program. The VM always has both ports; a port without an end is not connected.
#[derive(Clone, Copy, Debug, Default)]
pub struct Streams<'a> {
    /// The writing end of a pipe.
    pub output: Option<BorrowedFd<'a>>,
    /// One of two connected sockets.
    pub input: Option<BorrowedFd<'a>>,
    /// A file of [`protocol::output::BYTES`], for the output as well.
    pub memory: Option<BorrowedFd<'a>>,
}

/// A restored VM reports within a second, and within a few seconds on a busy machine. In addition it unpacks the archive,
/// at this many bytes per second or faster.
const TEMPLATE_FIRST_OUTPUT: Duration = Duration::from_secs(20);
const UNPACKED_A_SECOND: usize = 4 << 20;

impl<'a> Config<'a> {
    /// A VM with one CPU, 512 MiB and the default limits.
    pub fn new(kernel: &'a Path, initramfs: &'a [u8], accelerator: Accelerator) -> Self {
        Self {
            arch: Arch::X86_64,
            kernel,
            initramfs,
            accelerator,
            memory_mib: 512,
            icount: false,
            cpus: 1,
            kernel_args: Vec::new(),
            qemu_args: Vec::new(),
            gdb: None,
            mounts: Vec::new(),
            limits: Limits::default(),
            token: cpio::token(),
            streams: None,
            template: None,
            keep: None,
        }
    }

    /// The same VM, started from a template.
    pub fn starting_from(&self, template: &'a Template) -> Self {
        let unpacking = Duration::from_secs((self.initramfs.len() / UNPACKED_A_SECOND) as u64);
        Self {
            template: Some(template),
            limits: Limits {
                first_output: Some(TEMPLATE_FIRST_OUTPUT + unpacking),
                ..self.limits
            },
            ..self.clone()
        }
    }

    /// The configuration for the template of such a VM: the streams are not connected.
    pub(super) fn like(&self) -> Self {
        Self {
            streams: self.streams.map(|_| Streams::default()),
            ..self.clone()
        }
    }
}

/// Time limits of a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From start to end of the VM.
    pub time_limit: Duration,
    /// From start to the first byte on console or event channel, if shorter than `idle_timeout`.
    pub first_output: Option<Duration>,
    /// Without a byte on console or event channel.
    pub idle_timeout: Duration,
    /// From the kernel's report of a stall to the next event: after a busy host the guest continues, after a hang it does
    /// not.
    pub stall: Duration,
    /// From the start to the end of the program, if there is one. While it runs, no output is needed and no other limit
    /// counts.
    pub program: Option<Duration>,
    /// From the last event, or from a panic, to the end of QEMU.
    pub shutdown_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time_limit: Duration::from_secs(600),
            first_output: None,
            idle_timeout: Duration::from_secs(120),
            stall: Duration::from_secs(3),
            program: None,
            shutdown_grace: Duration::from_secs(5),
        }
    }
}
