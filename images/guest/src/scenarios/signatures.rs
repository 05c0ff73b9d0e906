//! Targets with arguments on the stack, and with structs as arguments.

use std::fs::{self, File};
use std::net::TcpListener;
use std::num::NonZeroU32;
use std::os::unix::fs::chown;
use std::sync::atomic::AtomicU32;

use anyhow::{Context as _, Result, ensure};
use fexit::maps::RingBuf;
use fexit::{Btf, Ebpf};
use rustix::thread::futex;

use super::fixture;
use crate::objects;
use crate::scenario::{Context, scenarios, skip};

scenarios! {
    many_arguments(ManyArguments).parallel():
        "the program sees the seventh to ninth argument and the return value exactly";
    struct_arguments(StructArguments).parallel():
        "the program sees structs of four and sixteen bytes, passed by value, exactly";
}

fn attached(name: &str) -> Result<Ebpf> {
    let ebpf = fixture::attached(objects::SIGNATURES, name)?;
    fixture::start(&ebpf)?;
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
    // The futex holds 5, so a wait for 6 fails at once.
    let refused = futex::wait_bitset(&word, futex::Flags::empty(), 6, None, BITSET);
    ensure!(
        refused.is_err(),
        "a wait for a value that is not there succeeded"
    );
    seen("wait", (WAIT_BITSET, 6, EAGAIN))?;
    nine_arguments()
}

/// mmap of a ring buffer maps the data twice, from its second page on.
fn nine_arguments() -> Result<()> {
    const PAGE: u64 = 4096;
    let streams = Ebpf::load(objects::EVENT_MAPS)?;
    let map = streams.map("ring").context("no map `ring`")?;
    let length = PAGE + 2 * u64::from(map.max_entries());
    map.fd()?;
    let ebpf = attached("nine")?;
    let _ring = RingBuf::try_from(map)?;
    fixture::stop(&ebpf)?;
    let seen = ["map_address", "map_length", "map_page", "map_behind"]
        .map(|name| ebpf.global::<u64>(name));
    let [hint, len, page, behind] = seen;
    let seen = (hint?, len?, page?, behind?);
    let expected = (0, length, 1, 1);
    ensure!(seen == expected, "it saw {seen:x?}, not {expected:x?}");
    let start: u64 = ebpf.global("map_ret")?;
    let range = format!("{start:x}-{:x} ", start + length);
    let maps = fs::read_to_string("/proc/self/maps")?;
    ensure!(
        maps.lines().any(|line| line.starts_with(&range)),
        "it saw the address {start:x}, where nothing of that length is: {maps}"
    );
    Ok(())
}

fn struct_arguments(_: &mut Context) -> Result<()> {
    if !Btf::from_sys_fs()?.has_function("in_group_p") {
        return Err(skip(
            "in_group_p is not in this kernel: it knows one user only",
        ));
    }
    let ebpf = attached("by_value")?;
    File::create("file")?;
    // A group that this process is not in, and its own group.
    for (gid, member) in [(4711, 0), (0, 1)] {
        chown("file", None, Some(gid))?;
        let seen: (u32, i32) = (ebpf.global("seen_gid")?, ebpf.global("is_member")?);
        ensure!(
            seen == (gid, member),
            "it saw {seen:?}, not {gid} and {member}"
        );
    }
    wide_struct()
}

/// A struct of sixteen bytes, which takes two slots of the context.
fn wide_struct() -> Result<()> {
    const IPPROTO_IP: i32 = 0;
    const IP_TTL: i32 = 2;
    let socket = TcpListener::bind("0.0.0.0:0")?;
    let ebpf = attached("wide")?;
    socket.set_ttl(77)?;
    let calls: u64 = ebpf.global("option_calls")?;
    ensure!(calls == 1, "the program ran {calls} times, not once");
    let seen = [
        "option_level",
        "option_name",
        "option_value",
        "option_length",
        "option_ret",
    ]
    .map(|name| ebpf.global::<i32>(name));
    let [level, name, value, length, ret] = seen;
    let seen = (level?, name?, value?, length?, ret?);
    ensure!(
        seen == (IPPROTO_IP, IP_TTL, 77, 4, 0),
        "it saw level, option, value, length and result {seen:?}"
    );
    let in_kernel: u64 = ebpf.global("option_in_kernel")?;
    ensure!(in_kernel == 0, "the second word of the struct is wrong");
    Ok(())
}
