//! Global variables.

use std::os::fd::AsFd as _;
use std::process;

use anyhow::{Context as _, Result, ensure};
use fexit::programs::{FExit, ProgramError};
use fexit::{Btf, Ebpf, EbpfLoader, Map, MapError};

use super::counter::{FUNCTION, expect_error, look_up};
use crate::objects;
use crate::scenario::{Context, scenarios};

scenarios! {
    globals(Fexit).parallel(): "variables in .data, .bss and .rodata are shared with the program in both directions";
    global_lock(Fexit).parallel(): "a program takes a spin lock in a data section, from Linux 5.15 on";
    globals_without_program().parallel():
        "each variable is read and written by itself, also if its map cannot be mmapped";
}

fn globals_without_program(_: &mut Context) -> Result<()> {
    // With the default map, and with one that cannot be mmapped on any kernel: aya creates it without BPF_F_MMAPABLE.
    let theirs = aya::Ebpf::load(objects::GLOBALS)?;
    let aya::maps::Map::Array(data) = theirs.map(".data").context("no map")? else {
        anyhow::bail!("aya takes it for another kind of map");
    };
    let data = Map::from_fd(data.fd().as_fd().try_clone_to_owned()?)?;
    let mut loader = EbpfLoader::new();
    loader.set_global("STEP", &7u32, true);
    let as_the_kernel_can = loader.load(objects::GLOBALS)?;
    let by_calls = loader.reuse_map(".data", &data).load(objects::GLOBALS)?;
    for ebpf in [as_the_kernel_can, by_calls] {
        for total in [u64::MAX, 7] {
            ebpf.set_global("total", total)?;
            let read: u64 = ebpf.global("total")?;
            ensure!(read == total, "{total} was written, {read} is read");
            let label: [u8; 8] = ebpf.global("label")?;
            ensure!(
                label == *b"initial\0",
                "a write changed an adjacent array: {label:?}"
            );
        }
        refusals(&ebpf)?;
    }
    Ok(())
}

/// A spin lock in a data section.
fn global_lock(_: &mut Context) -> Result<()> {
    let mut ebpf = Ebpf::load(objects::GLOBALS)?;
    let program: &mut FExit = ebpf
        .program_mut("locked")
        .context("no program")?
        .try_into()?;
    match program.load(FUNCTION, &Btf::from_sys_fs()?) {
        // Before 5.15 fexit programs may not take one.
        Err(ProgramError::UnknownHelper { helper, .. }) if helper.name == "spin_lock" => {
            return Ok(());
        }
        loaded => loaded?,
    }
    program.attach()?;
    ebpf.set_global("tgid", process::id())?;
    for calls in 1..=3 {
        look_up()?;
        let counted: u64 = ebpf.global("locked_calls")?;
        ensure!(
            counted == calls,
            "{counted} calls were counted, not {calls}"
        );
    }
    Ok(())
}

fn globals(_: &mut Context) -> Result<()> {
    let mut ebpf = EbpfLoader::new()
        .set_global("STEP", &7u32, true)
        .set_global("no_such_variable", &1u8, false)
        .load(objects::GLOBALS)?;
    ensure!(
        ebpf.global::<u64>("total")? == 1000,
        ".data does not start as the source says"
    );
    ensure!(
        ebpf.global::<[u8; 8]>("label")? == *b"initial\0",
        "an array starts otherwise"
    );
    let set = EbpfLoader::new()
        .set_global("total", &77u64, true)
        .set_global("flag", &0xa5u8, true)
        .load(objects::GLOBALS)?;
    ensure!(
        set.global::<u64>("total")? == 77 && set.global::<u8>("flag")? == 0xa5,
        ".data or .bss do not start as they were set"
    );
    let names: Vec<_> = set.globals().collect();
    ensure!(
        ["STEP", "calls", "label"]
            .iter()
            .all(|name| names.contains(name)),
        "the list of variables holds {names:?}"
    );
    let program: &mut FExit = ebpf
        .program_mut("globals")
        .context("no program")?
        .try_into()?;
    program.load(FUNCTION, &Btf::from_sys_fs()?)?;
    program.attach()?;
    // Count only from now on: attaching may look up paths itself.
    ebpf.set_global("tgid", process::id())?;

    for _ in 0..3 {
        look_up()?;
    }
    ensure!(ebpf.global::<u64>("calls")? == 3, ".bss: not 3 calls");
    ensure!(
        ebpf.global::<u64>("total")? == 1021,
        ".data and .rodata: not 1000 + 3 * 7"
    );
    ensure!(
        ebpf.global::<[u8; 8]>("label")? == *b"lnitial\0",
        "an array was not written to"
    );

    // A write while the program is attached: the program counts on from there, and no other variable changes.
    ebpf.set_global("total", 5_000_000_000u64)?;
    ebpf.set_global("flag", 0x5au8)?;
    look_up()?;
    ensure!(
        ebpf.global::<u64>("total")? == 5_000_000_007,
        ".data: the program did not see a write"
    );
    ensure!(
        ebpf.global::<u8>("flag_seen")? == 0x5a,
        ".bss: the program did not see a write"
    );
    ensure!(
        ebpf.global::<u64>("calls")? == 4,
        "a write changed an adjacent variable"
    );
    ensure!(
        ebpf.global::<[u8; 8]>("label")? == *b"mnitial\0",
        "a write changed an adjacent array"
    );

    ensure!(
        ebpf.global::<u32>("STEP")? == 7,
        ".rodata does not hold what was set"
    );
    ensure!(
        ebpf.global::<u16>("UNTOUCHED")? == 0xbeef,
        ".rodata does not hold what the source says"
    );
    refusals(&ebpf)
}

fn refusals(ebpf: &Ebpf) -> Result<()> {
    expect_error!(
        "a write to .rodata",
        ebpf.set_global("STEP", 8u32) => MapError::ReadOnly { name } if name == "STEP"
    )?;
    ensure!(
        ebpf.global::<u32>("STEP")? == 7,
        "a refused write took effect"
    );
    expect_error!(
        "a read of the wrong size",
        ebpf.global::<u32>("total") => MapError::SizeMismatch { expected: 8, found: 4, .. }
    )?;
    expect_error!(
        "an unknown variable",
        ebpf.global::<u32>("tolal") => MapError::UnknownGlobal { known, .. } if known.contains("total")
    )?;
    let required = EbpfLoader::new()
        .set_global("tolal", &1u8, true)
        .load(objects::GLOBALS);
    let error = expect_error("a variable that must exist", required, |_| true)?.to_string();
    ensure!(
        error.contains("tolal"),
        "the error does not name the variable: {error}"
    );
    Ok(())
}
