//! Unsafe calls.
#![allow(unsafe_code)] // the kernel's random numbers have no safe interface

use protocol::handover::SEED;
use rustix::io::Result;
use rustix::ioctl::{NoArg, Opcode, Setter, ioctl, opcode};

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
