//! Unsafe calls: the death signal of a child, and the memory of a KVM VM.
#![allow(unsafe_code)] // a child's death signal, and the memory of a VM, have no safe interface

use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

/// Makes the child inherit `fds` under the same numbers, and the kernel kill it when the calling thread ends.
///
/// `fds` must stay open until the child is spawned.
pub(super) fn tie_to_this_thread(command: &mut Command, fds: &[RawFd]) {
    let (parent, fds) = (getpid(), fds.to_vec());
    let prepare = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // A parent that died before the line above sends no signal.
        if getppid() != Some(parent) {
            return Err(Errno::SRCH.into());
        }
        for fd in &fds {
            // SAFETY: the caller keeps `fd` open until the child is spawned, and the child has a copy of it.
            let fd = unsafe { BorrowedFd::borrow_raw(*fd) };
            fcntl_setfd(fd, FdFlags::empty())?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec `prepare` makes system calls and nothing else; it allocates no memory.
    unsafe { command.pre_exec(prepare) };
}

#[cfg(target_arch = "x86_64")]
pub(super) mod kvm {
    //! A vCPU that runs a countdown, to measure its speed.

    use std::time::{Duration, Instant};

    use kvm_bindings::{kvm_regs, kvm_userspace_memory_region};
    use kvm_ioctls::{Error, Kvm, VcpuExit, VcpuFd, VmFd};

    const ADDRESS: u64 = 0x1000;
    const CODE: [u8; 5] = [
        0x66, 0x49, // again: dec ecx
        0x75, 0xfc, // jnz again
        0xf4, // hlt
    ];
    /// Instructions in one turn of the loop.
    pub(in super::super) const PER_TURN: u64 = 2;

    #[repr(align(4096))]
    struct Page([u8; 4096]);

    /// One vCPU in real mode, with a page of memory that contains the loop.
    pub(in super::super) struct Loop {
        vcpu: VcpuFd,
        _vm: VmFd,
        /// The last field, so that it is dropped after the VM that maps it.
        _page: Box<Page>,
    }

    impl Loop {
        pub(in super::super) fn new() -> Result<Self, Error> {
            let vm = Kvm::new()?.create_vm()?;
            let mut page = Box::new(Page([0; 4096]));
            page.0[..CODE.len()].copy_from_slice(&CODE);
            let region = kvm_userspace_memory_region {
                guest_phys_addr: ADDRESS,
                memory_size: 4096,
                userspace_addr: page.0.as_mut_ptr() as u64,
                ..Default::default()
            };
            // SAFETY: the page is on the heap, whole, aligned, and dropped after the VM.
            unsafe { vm.set_user_memory_region(region)? };
            let vcpu = vm.create_vcpu(0)?;
            let mut sregs = vcpu.get_sregs()?;
            (sregs.cs.base, sregs.cs.selector) = (0, 0);
            vcpu.set_sregs(&sregs)?;
            Ok(Self {
                vcpu,
                _vm: vm,
                _page: page,
            })
        }

        /// The time for `turns` turns; `None` if the vCPU did not stop at the end of the loop.
        pub(in super::super) fn time(&mut self, turns: u32) -> Result<Option<Duration>, Error> {
            self.vcpu.set_regs(&kvm_regs {
                rip: ADDRESS,
                rcx: turns.into(),
                rflags: 2,
                ..Default::default()
            })?;
            let start = Instant::now();
            let halted = matches!(self.vcpu.run()?, VcpuExit::Hlt);
            let elapsed = start.elapsed();
            Ok((halted && self.vcpu.get_regs()?.rcx == 0).then_some(elapsed))
        }
    }
}
