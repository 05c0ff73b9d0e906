//! Unsafe calls.
#![allow(unsafe_code)] // memory of a device and the kernel's random numbers have no safe interface

use std::fs::File;
use std::os::fd::AsFd;
use std::ptr;

use protocol::handover::SEED;
use rustix::io::Result;
use rustix::ioctl::{NoArg, Opcode, Setter, ioctl, opcode};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Memory of a device, mapped read-only.
pub(crate) struct Mapping {
    start: *const u8,
    length: usize,
}

impl Mapping {
    pub(crate) fn new(file: &File, length: usize) -> Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice overlaps no other.
        let start = unsafe {
            mmap(
                ptr::null_mut(),
                length,
                ProtFlags::READ,
                MapFlags::SHARED,
                file.as_fd(),
                0,
            )?
        };
        Ok(Self {
            start: start.cast_const().cast(),
            length,
        })
    }

    /// Whether the memory starts with `bytes`. Each call reads it again. `false` if it is shorter.
    pub(crate) fn starts_with(&self, bytes: [u8; 8]) -> bool {
        // SAFETY: the mapping lives as long as `self`, begins with a page, and so is aligned and long enough.
        self.length >= 8 && unsafe { self.start.cast::<[u8; 8]>().read_volatile() } == bytes
    }

    /// The memory. Call this only after [`Mapping::starts_with`] showed that the host has written all of it.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping has this length and lives as long as `self`; the host writes all of it before the VM
        // runs, and nothing writes to it afterwards.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: nothing borrows from the mapping any more, and nothing else unmaps it.
        let _ = unsafe { munmap(self.start.cast_mut().cast(), self.length) };
    }
}

/// `struct rand_pool_info`.
#[repr(C)]
struct Pool {
    entropy_bits: i32,
    bytes: i32,
    content: [u8; SEED],
}

/// Adds the seed to the kernel's random number generator, and reseeds it at once.
pub(crate) fn add_randomness(seed: &[u8; SEED]) -> Result<()> {
    const ADD: Opcode = opcode::write::<[i32; 2]>(b'R', 3);
    const RESEED: Opcode = opcode::none(b'R', 7);
    let device = rustix::fs::open(
        "/dev/urandom",
        rustix::fs::OFlags::WRONLY,
        rustix::fs::Mode::empty(),
    )?;
    let pool = Pool {
        entropy_bits: 8 * SEED as i32,
        bytes: SEED as i32,
        content: *seed,
    };
    // SAFETY: RNDADDENTROPY reads a `rand_pool_info`, with as many bytes behind it as it says.
    unsafe { ioctl(&device, Setter::<ADD, Pool>::new(pool))? };
    // SAFETY: RNDRESEEDCRNG has no argument.
    unsafe { ioctl(&device, NoArg::<RESEED>::new()) }
}
