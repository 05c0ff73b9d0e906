//! Programs at the hooks of the kernel's security modules.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use fexit::programs::ProgramError;
use fexit::{Btf, Ebpf, Feature};
use rustix::io::Errno;
use rustix::process::{getpgid, getpid};

use super::attachable::{self, program, types};
use super::fixture::start;
use super::fmod_ret::ask;
use crate::objects;
use crate::scenario::{Context, scenarios};

scenarios! {
    lsm(Lsm).parallel():
        "an lsm program decides about each call; where BPF is no security module, attach fails and says what to do";
    lsm_sleepable(Sleepable): "an lsm program that may sleep sees each exec";
    lsm_pin(LinkInfo).parallel(): "the link of an lsm program is pinned, found again and asked";
}

fn object() -> Result<Ebpf> {
    let ebpf = Ebpf::load(objects::LSM)?;
    start(&ebpf)?;
    Ok(ebpf)
}

/// Whether this kernel runs BPF programs at its hooks. If not, attaching `name`, which is loaded, must fail.
fn runs(ebpf: &mut Ebpf, name: &str) -> Result<bool> {
    let modules = fs::read_to_string("/sys/kernel/security/lsm").context("no list of modules")?;
    let modules = modules.trim();
    if modules.split(',').any(|module| module == "bpf") {
        return Ok(true);
    }
    let attach = program(ebpf, name)?.attach(None);
    let error = expect_error!("attach without BPF as a security module", attach => ProgramError::AttachError { .. })?;
    let (text, advice) = (error.to_string(), format!("`lsm={modules},bpf`"));
    ensure!(text.contains(&advice), "{advice} is missing: {text}");
    Ok(false)
}

fn lsm(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let mut ebpf = object()?;
    program(&mut ebpf, "decides")?.load_section(&btf)?;
    if !runs(&mut ebpf, "decides")? {
        return Ok(());
    }
    program(&mut ebpf, "decides")?.unload()?;
    attachable::lifecycle(&mut ebpf, "decides", &btf, &ask)?;

    program(&mut ebpf, "decides")?.load_section(&btf)?;
    let id = program(&mut ebpf, "decides")?.attach(None)?;
    for (deny, expected) in [(0u32, None), (1, Some(Errno::ACCESS)), (0, None)] {
        ebpf.set_global("deny", deny)?;
        let result = getpgid(Some(getpid())).err();
        ensure!(
            result == expected,
            "with deny = {deny}, getpgid(2) gives {result:?}"
        );
    }
    ebpf.set_global("deny", 1u32)?;
    program(&mut ebpf, "decides")?.detach(id)?;
    ask()
}

fn lsm_sleepable(_: &mut Context) -> Result<()> {
    let mut ebpf = object()?;
    program(&mut ebpf, "sleeps")?.load_section(&types(Feature::Lsm, Feature::Sleepable)?)?;
    if !runs(&mut ebpf, "sleeps")? {
        return Ok(());
    }
    let id = program(&mut ebpf, "sleeps")?.attach(None)?;
    ebpf.set_global("armed", 1u32)?;
    for _ in 0..3 {
        exec()?;
    }
    program(&mut ebpf, "sleeps")?.detach(id)?;
    exec()?;
    let execs: u64 = ebpf.global("execs")?;
    ensure!(execs == 3, "of three execs it saw {execs}");
    Ok(())
}

/// Executes a program that ends at once.
fn exec() -> Result<()> {
    let mut command = Command::new("/proc/self/exe");
    let status = command
        .arg("scenarios")
        .stdout(Stdio::null())
        .status()
        .context("exec")?;
    if !status.success() {
        bail!("the executed program failed: {status}");
    }
    Ok(())
}

fn lsm_pin(_: &mut Context) -> Result<()> {
    const BPF_LSM_MAC: u32 = 27;
    let mut ebpf = object()?;
    program(&mut ebpf, "decides")?.load_section(&types(Feature::Lsm, Feature::LinkInfo)?)?;
    if !runs(&mut ebpf, "decides")? {
        return Ok(());
    }
    attachable::pin(&mut ebpf, "decides", "/sys/fs/bpf/lsm_pin", BPF_LSM_MAC)
}
