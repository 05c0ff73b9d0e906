//! External symbols of an object: __kconfig variables, and __ksym functions and variables.

use std::collections::HashMap;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use fexit::programs::{OtherProgram, Program, ProgramError, Target};
use fexit::{Btf, Ebpf, EbpfLoader, Feature, KernelVersion};
use memchr::memmem;

use super::counter::look_up;
use super::fixture::{fexit, need_module, start, stop};
use super::symbols::Symbols;
use crate::objects;
use crate::scenario::{Context, scenarios, skip, syscall};

scenarios! {
    kconfig(Fexit).parallel():
        "__kconfig variables hold the kernel's configuration, or the values that the loader was given";
    ksyms(Fexit).parallel():
        "__ksym functions and variables are resolved; missing weak ones are zero, an error names other missing ones";
    module_kfunc(ModuleTarget).modules(&["nf_conntrack"]):
        "a kfunc of a module is called where the module has it, and named in the error where it does not";
}

/// Runs a program of the object for one call of its target.
fn run(ebpf: &mut Ebpf, name: &str) -> Result<()> {
    let program = fexit(ebpf, name)?;
    program.load_target(&Target::Section, &Btf::from_sys_fs()?)?;
    let link = program.attach()?;
    let before: u64 = ebpf.global("calls")?;
    start(ebpf)?;
    look_up()?;
    stop(ebpf)?;
    let calls = ebpf.global::<u64>("calls")? - before;
    ensure!(calls == 1, "{name}: it ran {calls} times, not once");
    fexit(ebpf, name)?.detach(link)?;
    Ok(())
}

/// Requires that loading a program fails because this is missing.
fn refused(ebpf: &mut Ebpf, name: &str, what: &str) -> Result<()> {
    let load = fexit(ebpf, name)?.load_target(&Target::Section, &Btf::from_sys_fs()?);
    let error = expect_error!(name, load => ProgramError::Relocation { .. })?;
    let text = error.to_string();
    ensure!(
        text.contains(&format!("`{what}`")),
        "{name}: the error does not name {what}: {text}"
    );
    Ok(())
}

fn kconfig(_: &mut Context) -> Result<()> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let text = fs::read_to_string(format!("/boot/config-{}", release.trim()));
    let text = text.map_err(|_| skip("the kernel's configuration is not known"))?;
    let config: HashMap<_, _> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    let of = |name| config.get(name).copied();

    let mut ebpf = Ebpf::load(objects::KCONFIG)?;
    run(&mut ebpf, "kconfig")?;
    let seen = |name| ebpf.global::<u64>(name);
    let (version, running) = (seen("version")?, KernelVersion::current());
    ensure!(
        (version >> 16, version >> 8 & 0xff) == (running.major.into(), running.minor.into())
            && version & 0xff >= u64::from(running.patch.min(255)),
        "the version is {version:#x} on {running}"
    );
    let hz = of("CONFIG_HZ").map_or(Ok(0), str::parse)?;
    let tristate = |name| match of(name) {
        Some("y") => 1,
        Some("m") => 2,
        _ => 0,
    };
    let letter = |name| of(name).and_then(|value| value.bytes().next()).unwrap_or(0);
    for (name, expected) in [
        ("bpf_syscall", 1),
        ("hz", hz),
        ("tun", tristate("CONFIG_TUN")),
        ("jit", letter("CONFIG_BPF_JIT").into()),
        ("none", 0),
    ] {
        let value = seen(name)?;
        ensure!(value == expected, "{name} is {value}, not {expected}");
    }
    let hostname = of("CONFIG_DEFAULT_HOSTNAME").unwrap_or_default();
    let hostname = hostname.trim_matches('"');
    let found: [u8; 16] = ebpf.global("hostname")?;
    ensure!(
        found.starts_with(hostname.as_bytes()) && found[hostname.len()..].iter().all(|&b| b == 0),
        "the host's name is {found:?}, not {hostname}"
    );
    // These come from the kernel itself.
    let symbols = Symbols::read()?;
    for (name, symbol) in [
        ("wrapper", syscall("bpf").as_str()),
        ("cookie", "bpf_get_attach_cookie_trace"),
    ] {
        let there = symbols.has(symbol);
        let value = seen(name)?;
        ensure!(value == u64::from(there), "{name} is {value}");
    }

    refused(&mut ebpf, "strong", "CONFIG_NO_SUCH_STRONG_OPTION")?;
    let mut given = EbpfLoader::new()
        .kconfig("CONFIG_HZ=77\nCONFIG_NO_SUCH_OPTION=y\nCONFIG_NO_SUCH_STRONG_OPTION=1\n")
        .load(objects::KCONFIG)?;
    run(&mut given, "kconfig")?;
    let seen = (given.global("hz")?, given.global("none")?);
    ensure!(seen == (77u64, 1u64), "given 77 and 1, it sees {seen:?}");
    fexit(&mut given, "strong")?.load_target(&Target::Section, &Btf::from_sys_fs()?)?;
    Ok(())
}

fn ksyms(_: &mut Context) -> Result<()> {
    let mut ebpf = Ebpf::load(objects::KSYMS)?;
    run(&mut ebpf, "functions")?;
    let seen = |ebpf: &Ebpf, name: &str| ebpf.global::<u64>(name);
    let there = Btf::from_sys_fs()?.has_function("bpf_task_acquire").into();
    for (name, expected) in [
        ("has_acquire", there),
        ("acquired", there),
        ("has_none", 0),
        ("has_other", 0),
    ] {
        let value = seen(&ebpf, name)?;
        ensure!(value == expected, "{name} is {value}, not {expected}");
    }

    run(&mut ebpf, "addresses")?;
    let address = Symbols::read()?.address("vfs_read")?;
    let found = (seen(&ebpf, "address")?, seen(&ebpf, "no_address")?);
    ensure!(
        found == (address, 0),
        "vfs_read is at {:#x}, not {address:#x}, and what is not there at {:#x}",
        found.0,
        found.1
    );

    let types = fs::read("/sys/kernel/btf/vmlinux")?;
    let has = |name: &[u8]| memmem::find(&types, name).is_some();
    if !has(b"\0BPF_FUNC_this_cpu_ptr\0") {
        // Before 5.10.
        let load =
            fexit(&mut ebpf, "variables")?.load_target(&Target::Section, &Btf::from_sys_fs()?);
        let error = load.err().context("a helper that is not there is called")?;
        let text = error.to_string();
        ensure!(
            text.contains("this_cpu_ptr"),
            "the helper is not named: {text}"
        );
    } else if has(b"\0bpf_prog_active\0") {
        run(&mut ebpf, "variables")?;
        let found = (seen(&ebpf, "active")?, seen(&ebpf, "no_variable")?);
        ensure!(
            (1..100).contains(&found.0) && found.1 == 0,
            "the variables are {found:?}"
        );
    } else {
        // pahole decides which variables are in BTF.
        refused(&mut ebpf, "variables", "bpf_prog_active")?;
    }

    refused(&mut ebpf, "strong_function", "bpf_no_such_strong_function")?;
    refused(&mut ebpf, "strong_symbol", "no_such_strong_symbol")?;
    refused(&mut ebpf, "unguarded", "bpf_no_such_function")
}

fn module_kfunc(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    Feature::ModuleTarget.require(&btf)?;
    need_module("nf_conntrack", &btf)?;
    let is_there = Symbols::read()?.is_in_module("bpf_xdp_ct_lookup", "nf_conntrack");
    let mut ebpf = Ebpf::load(objects::MODULE_KFUNC)?;
    let program = ebpf.program_mut("module_kfunc").context("no program")?;
    let program: &mut OtherProgram = program.try_into()?;
    let load = program.load();
    if !is_there {
        let error =
            expect_error!("a function that is not there", load => ProgramError::Relocation { .. })?;
        let text = error.to_string();
        ensure!(
            text.contains("`bpf_xdp_ct_lookup`") || text.contains("`bpf_ct_release`"),
            "the error does not name the function: {text}"
        );
        return Ok(());
    }
    load?;
    let frame = [0; 64];
    let program = ebpf.program("module_kfunc").context("no program")?;
    ensure!(
        matches!(program, Program::Other(_)) && program.test_run(&frame)?.return_value == 2,
        "the program does not let the packet pass"
    );
    ensure!(
        ebpf.global::<u64>("found")? == 0,
        "it found a connection that there is not"
    );
    Ok(())
}
