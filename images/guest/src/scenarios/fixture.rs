//! Objects whose programs say themselves what they are attached to.

use std::process;

use anyhow::{Context as _, Result};
use fexit::programs::{FExit, Target};
use fexit::{Btf, Ebpf};

/// Loads and attaches `program` of `object` to what its section names. It counts nothing before [`start`].
pub(super) fn attached(object: &[u8], program: &str) -> Result<Ebpf> {
    let mut ebpf = Ebpf::load(object)?;
    let fexit = fexit(&mut ebpf, program)?;
    fexit.load_target(&Target::Section, &Btf::from_sys_fs()?)?;
    fexit.attach()?;
    Ok(ebpf)
}

/// Lets the programs count this process's calls.
///
/// The library and std look up paths of their own, to read a file say, so count for no longer than needed.
pub(super) fn start(ebpf: &Ebpf) -> Result<()> {
    Ok(ebpf.set_global("tgid", process::id())?)
}

/// Lets the programs count nothing.
pub(super) fn stop(ebpf: &Ebpf) -> Result<()> {
    Ok(ebpf.set_global("tgid", 0u32)?)
}

pub(super) fn fexit<'a>(ebpf: &'a mut Ebpf, program: &str) -> Result<&'a mut FExit> {
    let program = ebpf
        .program_mut(program)
        .with_context(|| format!("no program `{program}`"))?;
    Ok(program.try_into()?)
}
