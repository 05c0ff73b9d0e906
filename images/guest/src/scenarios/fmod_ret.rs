//! fmod_ret programs.

use anyhow::{Result, ensure};
use fexit::programs::ProgramError;
use fexit::{Btf, Ebpf, Feature};
use rustix::io::Errno;
use rustix::process::{getpgid, getpid};

use super::attachable::{self, program, types};
use super::fixture::start;
use crate::objects;
use crate::scenario::{Context, scenarios};

scenarios! {
    fmod_ret(FModRet).parallel():
        "an fmod_ret program sees each call, and what it returns is the result of the function";
    fmod_ret_refused(FModRet).parallel():
        "a function that may not be replaced is refused as the target of an fmod_ret program, with the reason";
    fmod_ret_pin(LinkInfo).parallel(): "the link of an fmod_ret program is pinned, found again and asked";
    fmod_ret_cookie(Cookie).parallel(): "an fmod_ret program reads the cookie of its attachment";
}

/// Asks for the process group of this process: one call of `security_task_getpgid`.
pub(super) fn ask() -> Result<()> {
    getpgid(Some(getpid()))?;
    Ok(())
}

fn object() -> Result<Ebpf> {
    let ebpf = Ebpf::load(objects::FMOD_RET)?;
    start(&ebpf)?;
    Ok(ebpf)
}

fn fmod_ret(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let mut ebpf = object()?;
    attachable::lifecycle(&mut ebpf, "replaces", &btf, &ask)?;

    program(&mut ebpf, "replaces")?.load_section(&btf)?;
    let group = getpgid(None)?;
    let id = program(&mut ebpf, "replaces")?.attach(None)?;
    for (answer, expected) in [
        (0, Ok(group)),
        (-Errno::ACCESS.raw_os_error(), Err(Errno::ACCESS)),
        (-Errno::SRCH.raw_os_error(), Err(Errno::SRCH)),
        (0, Ok(group)),
    ] {
        ebpf.set_global("answer", answer)?;
        let result = getpgid(Some(getpid()));
        ensure!(
            result == expected,
            "while the program returns {answer}, getpgid(2) gives {result:?}"
        );
    }
    ebpf.set_global("answer", -Errno::ACCESS.raw_os_error())?;
    program(&mut ebpf, "replaces")?.detach(id)?;
    ask()
}

fn fmod_ret_refused(_: &mut Context) -> Result<()> {
    let mut ebpf = object()?;
    let load = program(&mut ebpf, "not_modifiable")?.load_section(&Btf::from_sys_fs()?);
    let error = expect_error!("fmod_ret of vfs_open", load => ProgramError::TargetRefused { .. })?;
    let text = error.to_string();
    for part in ["`vfs_open`", "security_*", "ALLOW_ERROR_INJECTION"] {
        ensure!(text.contains(part), "{part} is missing: {text}");
    }
    Ok(())
}

fn fmod_ret_pin(_: &mut Context) -> Result<()> {
    const BPF_MODIFY_RETURN: u32 = 26;
    let mut ebpf = object()?;
    program(&mut ebpf, "replaces")?.load_section(&types(Feature::FModRet, Feature::LinkInfo)?)?;
    attachable::pin(
        &mut ebpf,
        "replaces",
        "/sys/fs/bpf/fmod_ret_pin",
        BPF_MODIFY_RETURN,
    )
}

fn fmod_ret_cookie(_: &mut Context) -> Result<()> {
    attachable::cookie(
        &mut object()?,
        &types(Feature::FModRet, Feature::Cookie)?,
        &ask,
    )
}
