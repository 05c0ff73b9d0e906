//! Functions of kernel modules.

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::process;

use anyhow::{Result, ensure};
use fexit::programs::{ProgramError, Target};
use fexit::{Btf, BtfError, Ebpf};

use super::counter::expect_error;
use super::fixture::{closed_on_exec, fexit, need_module, start, stop};
use crate::objects;
use crate::scenario::{Context, scenarios};
use crate::sys::close_stdin;

scenarios! {
    module_target(ModuleTarget).parallel().modules(&["tun"]):
        "a function of a module is a target: from the section, as module:function, or by its name alone";
    unknown_module(ModuleTarget).parallel().modules(&["tun"]):
        "the error names a module that is not loaded, and a function that a module does not have";
    module_types(ModuleTarget).modules(&["tun"]):
        "CO-RE relocates fields of a module's struct, in programs on functions of the module and of vmlinux";
    closed_stdin(ModuleTarget).modules(&["tun"]):
        "with standard input closed the library uses no descriptor below 3, because 0 means the BTF of vmlinux";
}

const DEVICE: &str = "/dev/net/tun";

fn module_target(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    need_module("tun", &btf)?;
    let inode = fs::metadata(DEVICE)?.ino();
    for target in [
        Target::Function("tun_chr_open"),
        Target::Section,
        Target::Function("tun:tun_chr_open"),
    ] {
        let mut ebpf = Ebpf::load(objects::MODULE_TARGET)?;
        ebpf.set_global("tgid", process::id())?;
        let program = fexit(&mut ebpf, "module_target")?;
        program.load_target(&target, &btf)?;
        let link = program.attach()?;
        closed_on_exec()?;
        drop(File::open(DEVICE)?);
        let calls: u64 = ebpf.global("calls")?;
        ensure!(
            calls == 1,
            "{target:?}: the program ran {calls} times, not once"
        );
        let seen = (
            ebpf.global::<u64>("seen_inode")?,
            ebpf.global::<i32>("seen_ret")?,
        );
        ensure!(
            seen == (inode, 0),
            "{target:?}: it saw {seen:?}, not inode {inode} and 0"
        );
        fexit(&mut ebpf, "module_target")?.detach(link)?;
        drop(File::open(DEVICE)?);
        ensure!(
            ebpf.global::<u64>("calls")? == 1,
            "{target:?}: the program ran after detach"
        );
    }
    Ok(())
}

fn unknown_module(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    need_module("tun", &btf)?;
    let mut ebpf = Ebpf::load(objects::MODULE_TARGET)?;
    let program = fexit(&mut ebpf, "module_target")?;
    for (target, named) in [
        ("no_such_module:f", "no_such_module"),
        ("tun:tun_chr_opem", "tun_chr_opem"),
    ] {
        let result = program.load(target, &btf);
        if let Err(ProgramError::Unsupported(refusal)) = result {
            return Err(refusal.into());
        }
        let error = expect_error(target, result, |error| {
            let unknown = |error: &_| {
                matches!(
                    error,
                    BtfError::UnknownModule { .. } | BtfError::UnknownBtfTypeName { .. }
                )
            };
            matches!(error, ProgramError::Btf(error) if unknown(error))
        })?;
        let text = error.to_string();
        ensure!(
            text.contains(&format!("`{named}`")),
            "the error does not name {named}: {text}"
        );
    }
    Ok(())
}

fn module_types(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    need_module("tun", &btf)?;
    let mut size = 0;
    for name in ["of_module", "of_kernel"] {
        let mut ebpf = Ebpf::load(objects::MODULE_TYPES)?;
        let program = fexit(&mut ebpf, name)?;
        program.load_target(&Target::Section, &btf)?;
        let link = program.attach()?;
        start(&ebpf)?;
        let opened = File::open(DEVICE);
        stop(&ebpf)?;
        drop(opened?);
        let [calls, file, by_socket] =
            ["calls", "opened", "opened_by_socket"].map(|name| ebpf.global::<u64>(name));
        let (calls, file, by_socket) = (calls?, file?, by_socket?);
        ensure!(
            calls == 1,
            "{name}: the program ran {calls} times, not once"
        );
        ensure!(
            file != 0 && by_socket == file,
            "{name}: it read {by_socket:#x} where the module has {file:#x}"
        );
        let exists = (
            ebpf.global::<i32>("has_socket")?,
            ebpf.global::<i32>("has_no_such_field")?,
        );
        ensure!(exists == (1, 0), "{name}: of two fields it saw {exists:?}");
        let seen: u64 = ebpf.global("type_size")?;
        ensure!(
            seen > 64 && (size == 0 || seen == size),
            "{name}: the struct has {seen} bytes, and {size} before"
        );
        size = seen;
        fexit(&mut ebpf, name)?.detach(link)?;
    }
    let mut ebpf = Ebpf::load(objects::MODULE_TYPES)?;
    let load = fexit(&mut ebpf, "unguarded")?.load_target(&Target::Section, &btf);
    let error = expect_error!("a field that the module lacks", load => ProgramError::UnresolvedCoreRelocation { .. })?;
    let text = error.to_string();
    ensure!(
        text.contains("struct tun_file___never.no_such_field"),
        "the error does not name the field: {text}"
    );
    Ok(())
}

fn closed_stdin(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    need_module("tun", &btf)?;
    let mut ebpf = Ebpf::load(objects::MODULE_TARGET)?;
    ebpf.set_global("tgid", process::id())?;
    close_stdin();
    // The first descriptor that this opens and keeps is the module's BTF.
    let program = fexit(&mut ebpf, "module_target")?;
    program.load("tun:tun_chr_open", &btf)?;
    let id = program.attach()?;
    let link = program.take_link(id)?;
    let all = [program.fd()?.as_raw_fd(), link.as_fd().as_raw_fd()];
    ensure!(all.iter().all(|&fd| fd > 2), "the descriptors are {all:?}");
    drop(File::open(DEVICE)?);
    let calls: u64 = ebpf.global("calls")?;
    ensure!(calls == 1, "the program ran {calls} times, not once");
    Ok(())
}
