//! Objects whose programs name their targets in their sections.

use std::fs;
use std::process;

use anyhow::{Context as _, Result, ensure};
use fexit::programs::{FExit, Target};
use fexit::{Btf, Ebpf, Feature, Map};

use crate::scenario::skip;

/// Loads and attaches `program` of `object` to the target of its section. It counts nothing before [`start`].
pub(super) fn attached(object: &[u8], program: &str) -> Result<Ebpf> {
    let mut ebpf = Ebpf::load(object)?;
    let fexit = fexit(&mut ebpf, program)?;
    fexit.load_target(&Target::Section, &Btf::from_sys_fs()?)?;
    fexit.attach()?;
    Ok(ebpf)
}

/// Makes the programs count the calls of this process.
///
/// The library and std look up paths themselves, for example to read a file, so count only as long as needed.
pub(super) fn start(ebpf: &Ebpf) -> Result<()> {
    Ok(ebpf.set_global("tgid", process::id())?)
}

/// Makes the programs stop counting.
pub(super) fn stop(ebpf: &Ebpf) -> Result<()> {
    Ok(ebpf.set_global("tgid", 0u32)?)
}

pub(super) fn fexit<'a>(ebpf: &'a mut Ebpf, program: &str) -> Result<&'a mut FExit> {
    let program = ebpf
        .program_mut(program)
        .with_context(|| format!("no program `{program}`"))?;
    Ok(program.try_into()?)
}

/// Skips a scenario if its module is not loaded, or if this kernel could use the BTF of modules and was built without.
pub(super) fn need_module(name: &str, btf: &Btf) -> Result<()> {
    let loaded = fs::read_to_string("/proc/modules")?;
    let is_it = |line: &str| line.split(' ').next() == Some(name);
    if !loaded.lines().any(is_it) {
        return Err(skip(format!("module {name} is not loaded")));
    }
    // The kernel has this function only with the option.
    if Feature::ModuleTarget.is_in(btf) == Some(true) && !btf.has_function("btf_module_notify") {
        return Err(skip(
            "this kernel has no BTF of modules: it was built without CONFIG_DEBUG_INFO_BTF_MODULES",
        ));
    }
    Ok(())
}

pub(super) fn map<'a>(ebpf: &'a Ebpf, name: &str) -> Result<&'a Map> {
    ebpf.map(name).with_context(|| format!("no map `{name}`"))
}

/// Requires O_CLOEXEC on every descriptor of this process except the standard three.
pub(super) fn closed_on_exec() -> Result<()> {
    const O_CLOEXEC: u32 = 0o2_000_000;
    let mut checked = 0;
    for entry in fs::read_dir("/proc/self/fdinfo")? {
        let entry = entry?;
        let number: u32 = entry.file_name().to_string_lossy().parse()?;
        // The descriptor that lists them is closed by then.
        let Ok(info) = fs::read_to_string(entry.path()) else {
            continue;
        };
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = u32::from_str_radix(flags.context("no flags")?.trim(), 8)?;
        ensure!(
            number < 3 || flags & O_CLOEXEC != 0,
            "descriptor {number} survives exec: {info}"
        );
        checked += u32::from(number >= 3);
    }
    ensure!(checked > 0, "no descriptor is open");
    Ok(())
}
