//! Targets whose arguments do not all come in registers, one by one.

use std::fs::{self, File};
use std::num::NonZeroU32;
use std::os::unix::fs::{MetadataExt, chown};
use std::process;
use std::sync::atomic::AtomicU32;

use anyhow::{Context as _, Result, ensure};
use fexit::programs::{FExit, Target};
use fexit::{Btf, Ebpf, Feature};
use rustix::thread::futex;

use crate::objects;
use crate::scenario::{Context, Scenario};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "many_arguments",
        "the seventh argument and the return value behind it arrive exactly",
        Feature::ManyArguments,
        many_arguments,
    ),
    Scenario::new(
        "struct_arguments",
        "a small struct that is passed by value arrives exactly",
        Feature::StructArguments,
        struct_arguments,
    ),
];

fn attached(name: &str) -> Result<Ebpf> {
    let mut ebpf = Ebpf::load(objects::SIGNATURES)?;
    let program: &mut FExit = ebpf
        .program_mut(name)
        .context("no such program")?
        .try_into()?;
    program.load_target(&Target::Section, &Btf::from_sys_fs()?)?;
    program.attach()?;
    ebpf.set_global("tgid", process::id())?;
    Ok(ebpf)
}

fn many_arguments(_: &mut Context) -> Result<()> {
    const BITSET: NonZeroU32 = NonZeroU32::new(0x1357_9bdf).unwrap();
    const WAIT_BITSET: i32 = 9;
    const WAKE_BITSET: i32 = 10;
    const EAGAIN: i64 = -11;
    let ebpf = attached("seven")?;
    let word = AtomicU32::new(5);
    let seen = |what: &str, expected: (i32, u32, i64)| -> Result<()> {
        let calls: u64 = ebpf.global("futex_calls")?;
        ensure!(
            calls == 1,
            "{what}: the program ran {calls} times, not once"
        );
        let seen: (i32, u32, i64) = (
            ebpf.global("futex_op")?,
            ebpf.global("futex_val")?,
            ebpf.global("futex_ret")?,
        );
        ensure!(
            seen == expected,
            "{what}: it saw {seen:?}, not {expected:?}"
        );
        let bits: u32 = ebpf.global("futex_val3")?;
        ensure!(
            bits == BITSET.get(),
            "{what}: the seventh argument was {bits:#x}"
        );
        Ok(ebpf.set_global("futex_calls", 0u64)?)
    };
    futex::wake_bitset(&word, futex::Flags::empty(), 7, BITSET)?;
    seen("wake", (WAKE_BITSET, 7, 0))?;
    // The word holds 5, so a wait for 6 is refused at once.
    let refused = futex::wait_bitset(&word, futex::Flags::empty(), 6, None, BITSET);
    ensure!(
        refused.is_err(),
        "a wait for a value that is not there succeeded"
    );
    seen("wait", (WAIT_BITSET, 6, EAGAIN))
}

fn struct_arguments(_: &mut Context) -> Result<()> {
    let ebpf = attached("by_value")?;
    for uid in [4711, 65_000] {
        let name = format!("file-of-{uid}");
        File::create(&name)?;
        chown(&name, Some(uid), None)?;
        let found = fs::metadata(&name)?.uid();
        ensure!(found == uid, "the file is {found}'s, not {uid}'s");
        let seen: (u32, u32) = (ebpf.global("seen_uid")?, ebpf.global("uid_ret")?);
        ensure!(seen == (uid, uid), "it saw {seen:?}, not {uid} twice");
    }
    Ok(())
}
