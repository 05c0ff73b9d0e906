//! An example of a crate with tests that require root and load BPF programs: [`Opens`] counts the files that this process
//! opens, and `tests/opens.rs` tests it in a VM. From the root of the workspace:
//!
//! ```sh
//! cargo build -p harness
//! export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="$PWD/target/debug/harness exec --kernel 6.1 --"
//! cargo test -p in_vm --features vm
//! ```

use anyhow::{Context as _, Result};
use fexit::{Bpf, Btf, programs::FExit};

const OBJECT: &[u8] = fexit::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/opens.bpf.o"));

/// Counts until it is dropped.
#[derive(Debug)]
pub struct Opens(Bpf);

impl Opens {
    /// Starts counting. Requires root and Linux 5.6 or later, which has `do_sys_openat2`.
    pub fn count() -> Result<Self> {
        let mut bpf = Bpf::load(OBJECT)?;
        bpf.set_global("tgid", std::process::id())?;
        let program: &mut FExit = bpf.program_mut("opens").context("no program")?.try_into()?;
        program.load("do_sys_openat2", &Btf::from_sys_fs()?)?;
        program.attach()?;
        Ok(Self(bpf))
    }

    /// The number of opens that succeeded, and of those that failed.
    pub fn counts(&self) -> Result<(u64, u64)> {
        Ok((self.0.global("opened")?, self.0.global("failed")?))
    }
}
