//! What a VM consists of, and its time limits.

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Duration;

use super::accel::Accelerator;
use super::template::Template;
use crate::initramfs::cpio;

/// One VM.
#[derive(Clone, Debug)]
pub struct Config<'a> {
    /// The kernel, in any form that QEMU loads.
    pub kernel: &'a Path,
    /// The initramfs, as [`cpio::build`] makes it.
    pub initramfs: &'a [u8],
    /// What runs the guest's instructions.
    pub accelerator: Accelerator,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Time is what the guest's instructions make it, one nanosecond each: for TCG only.
    pub icount: bool,
    /// Virtual CPUs.
    pub cpus: u32,
    /// More arguments for the kernel, after the harness's own.
    pub kernel_args: Vec<String>,
    /// How long what may take.
    pub limits: Limits,
    /// What every event must bear, as the job in the initramfs has it: see [`cpio::token`]. Empty: nothing.
    pub token: &'a str,
    /// Where the streams of a program lead to, if the VM is there for one.
    pub streams: Option<Streams<'a>>,
    /// Start from this instead of booting. It must be a template for such a VM.
    pub template: Option<&'a Template>,
    /// Leave console log, events, initramfs and the command in this directory.
    pub keep: Option<&'a Path>,
}

/// QEMU's ends of the two ways that the streams of a program take. Both ports are there in any case; one without an end
/// is not connected.
#[derive(Clone, Copy, Debug, Default)]
pub struct Streams<'a> {
    /// The writing end of a pipe.
    pub output: Option<BorrowedFd<'a>>,
    /// One of two connected sockets.
    pub input: Option<BorrowedFd<'a>>,
}

/// A VM from a template reports within a second, and within some on a busy machine; one that has much to unpack takes a
/// second more for so many bytes at the worst.
const TEMPLATE_FIRST_OUTPUT: Duration = Duration::from_secs(20);
const UNPACKED_A_SECOND: usize = 4 << 20;

impl<'a> Config<'a> {
    /// A VM with one CPU, 512 MiB and the usual limits.
    pub fn new(kernel: &'a Path, initramfs: &'a [u8], accelerator: Accelerator) -> Self {
        Self {
            kernel,
            initramfs,
            accelerator,
            memory_mib: 512,
            icount: false,
            cpus: 1,
            kernel_args: Vec::new(),
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

    /// Any VM like this one, as far as a template has to be: its streams are not connected.
    pub(super) fn like(&self) -> Self {
        Self {
            streams: self.streams.map(|_| Streams::default()),
            ..self.clone()
        }
    }
}

/// How long a VM may take for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From start to end.
    pub time_limit: Duration,
    /// From start to the first byte on console or event channel, if that must come sooner than any other.
    pub first_output: Option<Duration>,
    /// Without a byte on console or event channel.
    pub idle_timeout: Duration,
    /// From the kernel's report of a stall to the next event: a host that was busy lets the guest go on, a hang does not.
    pub stall: Duration,
    /// From the start of the program that the VM is there for, if there is one; it may be silent, and the two above
    /// hold no more.
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
