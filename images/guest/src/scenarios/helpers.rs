//! Helpers that tell a program about the traced call.

use std::fs;
use std::os::fd::AsRawFd;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use fexit::programs::{ProgramError, Target};
use fexit::{Btf, Ebpf};
use rustix::fs::{Access, AtFlags, Mode, OFlags, accessat, open};

use super::counter::look_up;
use super::fixture::{attached, fexit, start};
use super::symbols::Symbols;
use crate::objects;
use crate::scenario::{Context, scenarios, skip, syscall};

scenarios! {
    cookie(Cookie).parallel(): "each attachment passes its own cookie to the program";
    sleepable(Sleepable): "sleepable programs (fexit.s, fentry.s, fmod_ret.s) copy from user space";
    func_args(FuncArgs).parallel(): "bpf_get_func_arg and bpf_get_func_ret agree with the context";
    func_ip(FuncIp).parallel(): "bpf_get_func_ip returns the address of the function";
}

fn cookie(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let cookies = [0x0123_4567_89ab_cdef_u64, u64::MAX];
    let mut objects = Vec::new();
    for cookie in cookies {
        let mut ebpf = Ebpf::load(objects::COOKIE)?;
        let program = fexit(&mut ebpf, "cookie")?;
        program.load_target(&Target::Section, &btf)?;
        program.attach_with_cookie(cookie)?;
        start(&ebpf)?;
        objects.push(ebpf);
    }
    look_up()?;
    for (ebpf, cookie) in objects.iter().zip(cookies) {
        let seen: u64 = ebpf.global("seen_cookie")?;
        ensure!(
            seen == cookie,
            "attached with {cookie:#x}, the program saw {seen:#x}"
        );
    }
    let plain = attached(objects::COOKIE, "cookie")?;
    start(&plain)?;
    look_up()?;
    let seen: u64 = plain.global("seen_cookie")?;
    ensure!(
        seen == 0 && plain.global::<u64>("calls")? > 0,
        "without a cookie it saw {seen:#x}"
    );
    Ok(())
}

fn sleepable(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let mut ebpf = Ebpf::load(objects::SLEEPABLE)?;
    let program = fexit(&mut ebpf, "sleepable")?;
    // Kernels differ in the targets of sleepable programs: functions with error injection, such as system calls if the
    // kernel is built for that, and from 6.3 on a few by name.
    for target in [Target::Section, Target::Function(&syscall("rmdir"))] {
        match program.load_target(&target, &btf) {
            Ok(()) => return copy_from_user_space(&mut ebpf, &target, &btf),
            Err(error @ ProgramError::TargetRefused { .. }) => {
                let text = error.to_string();
                ensure!(text.contains("may sleep"), "the reason is missing: {text}");
            }
            Err(other) => return Err(other.into()),
        }
    }
    let injection = Path::new("/sys/kernel/debug/error_injection").exists();
    ensure!(
        !injection,
        "no system call is a target, although the kernel can inject errors"
    );
    let load = program.load_target(&Target::Section, &btf);
    let text = load
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    ensure!(
        text.contains("without CONFIG_FUNCTION_ERROR_INJECTION"),
        "the reason is missing: {text}"
    );
    Err(skip(
        "this kernel, built without FUNCTION_ERROR_INJECTION, has no target for such programs",
    ))
}

/// The fexit program is loaded.
fn copy_from_user_space(ebpf: &mut Ebpf, target: &Target<'_>, btf: &Btf) -> Result<()> {
    start(ebpf)?;
    for (number, name) in ["sleepable", "enters", "replaces"].into_iter().enumerate() {
        let program = ebpf.program_mut(name).context("no such program")?;
        if name != "sleepable" {
            program.load_target(target, btf)?;
        }
        let link = program.attach()?;
        let bytes = [b'0' + number as u8; 16];
        ebpf.set_global("source", bytes.as_ptr().addr() as u64)?;
        ebpf.set_global("calls", 0_u64)?;
        ebpf.set_global("result", -1_i64)?;
        // One of the two is the target of the program.
        let removed = fs::remove_dir("no such folder");
        ensure!(removed.is_err(), "a folder that is not there was removed");
        fexit(ebpf, "sleepable")?.test_run()?;
        let calls: u64 = ebpf.global("calls")?;
        ensure!(calls == 1, "`{name}` ran {calls} times, not once");
        let result: i64 = ebpf.global("result")?;
        ensure!(
            result == 0,
            "bpf_copy_from_user failed in `{name}`: {result}"
        );
        let copied: [u8; 16] = ebpf.global("copied")?;
        ensure!(copied == bytes, "`{name}` copied {copied:?}");
        let program = ebpf.program_mut(name).context("no such program")?;
        program.detach(link)?;
    }
    Ok(())
}

fn func_args(_: &mut Context) -> Result<()> {
    const EINVAL: i64 = -22;
    let ebpf = attached(objects::FUNC_ARGS, "func_args")?;
    start(&ebpf)?;
    let dir = open("/", OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
    for (path, ret) in [(c"proc", 0), (c"no such file", -2_i64)] {
        let before: u64 = ebpf.global("calls")?;
        let result = accessat(&dir, path, Access::EXISTS, AtFlags::empty());
        ensure!(result.is_ok() == (ret == 0), "access gave {result:?}");
        ensure!(
            ebpf.global::<u64>("calls")? == before + 1,
            "the program did not run once"
        );
        ensure!(
            ebpf.global::<i64>("seen_count")? == 5,
            "the function has five arguments"
        );
        // The upper half of a register that holds an int is not defined.
        let [dfd, flags, seen] =
            ["seen_dfd", "seen_flags", "seen_ret"].map(|name| ebpf.global::<u64>(name));
        let low = |value: u64| (value as u32).cast_signed();
        let seen = (low(dfd?), low(flags?), i64::from(low(seen?)));
        ensure!(
            seen == (dir.as_raw_fd(), 1, ret),
            "the program saw {seen:?}"
        );
        let behind: i64 = ebpf.global("behind_the_last")?;
        ensure!(
            behind == EINVAL,
            "an argument behind the last gave {behind}"
        );
    }
    Ok(())
}

fn func_ip(_: &mut Context) -> Result<()> {
    let ebpf = attached(objects::FUNC_IP, "func_ip")?;
    start(&ebpf)?;
    look_up()?;
    let seen: u64 = ebpf.global("seen_ip")?;
    let address = Symbols::read()?.address("filename_lookup")?;
    ensure!(
        seen == address,
        "the program saw {seen:#x}, but the function is at {address:#x}"
    );
    Ok(())
}
