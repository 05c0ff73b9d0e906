//! Maps that the object declares.

use std::os::fd::AsRawFd;

use anyhow::{Result, ensure};
use fexit::maps::{Array, HashMap};
use fexit::programs::ProgramError;
use fexit::{Btf, Ebpf, Feature, KernelVersion, Map, MapError};
use rustix::fs::{Access, AtFlags, Mode, OFlags, accessat, open};
use rustix::io::Errno;

use super::counter::{FUNCTION, expect_error};
use super::fixture::{fexit, map, start};
use crate::objects;
use crate::scenario::{Context, scenarios};

scenarios! {
    maps(Fexit).parallel(): "hash and array of an object are created, and the program and user space share them";
    map_types().parallel(): "a map type that the kernel lacks is refused with its minimum kernel version";
}

fn map_types(context: &mut Context) -> Result<()> {
    let ebpf = Ebpf::load(objects::MAP_TYPES)?;
    let mut created = 0;
    for (name, release) in [
        ("inode_storage", (5, 10)),
        ("task_storage", (5, 11)),
        ("bloom_filter", (5, 16)),
        ("user_ringbuf", (6, 1)),
        ("cgrp_storage", (6, 2)),
    ] {
        let first = KernelVersion::new(release.0, release.1, 0);
        match map(&ebpf, name)?.fd() {
            Ok(_) => {
                created += 1;
                context.has(&format!("maps of type {name}"), first);
            }
            Err(
                error @ MapError::UnsupportedType {
                    kind,
                    minimum,
                    running,
                    ..
                },
            ) => {
                let right = kind == name && minimum == first;
                let is_explained = running < first || error.to_string().contains("CONFIG_");
                ensure!(
                    right && is_explained,
                    "{kind} is refused on {running}: {error}"
                );
            }
            Err(other) => anyhow::bail!("{name}, from {first} on, gave {other:?}"),
        }
    }
    context.measure("created", created);
    let mut ebpf = ebpf;
    match fexit(&mut ebpf, "uses_none")?.load(FUNCTION, &Btf::from_sys_fs()?) {
        Err(ProgramError::Unsupported(refusal)) if refusal.feature == Feature::Fexit => Ok(()),
        other => Ok(other?),
    }
}

fn maps(_: &mut Context) -> Result<()> {
    let mut ebpf = Ebpf::load(objects::MAPS)?;
    ensure!(
        !map(&ebpf, "by_result")?.is_created(),
        "a map was created before anybody used it"
    );
    fexit(&mut ebpf, "maps")?.load(FUNCTION, &Btf::from_sys_fs()?)?;
    ensure!(
        map(&ebpf, "by_result")?.is_created(),
        "a loaded program's map was not created"
    );
    let mut by_result: HashMap<_, i32, u64> = map(&ebpf, "by_result")?.clone().try_into()?;
    let mut slots: Array<_, i64> = map(&ebpf, "slots")?.clone().try_into()?;

    const NOENT: i32 = -2;
    const NOTDIR: i32 = -20;
    by_result.insert(NOENT, 40, 0)?;
    by_result.insert(-13, 1, 0)?;
    slots.set(0, 0x7_0000_0000, 0)?;
    fexit(&mut ebpf, "maps")?.attach()?;
    let dir = open("/proc", OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
    // Count only from now on: attaching may look up paths itself.
    start(&ebpf)?;
    for (path, answer) in [
        ("no such file", Err(Errno::NOENT)),
        ("self", Ok(())),
        ("uptime/below", Err(Errno::NOTDIR)),
        ("nor this", Err(Errno::NOENT)),
    ] {
        let result = accessat(&dir, path, Access::EXISTS, AtFlags::empty());
        ensure!(result == answer, "access to {path} gave {result:?}");
    }

    ensure!(
        by_result.get(&NOENT, 0)? == 42,
        "the program did not add to what was there"
    );
    let mut all = by_result.iter().collect::<Result<Vec<_>, _>>()?;
    all.sort_unstable();
    let expected = [(NOTDIR, 1), (-13, 1), (NOENT, 42), (0, 1)];
    ensure!(all == expected, "the hash holds {all:?}, not {expected:?}");
    by_result.remove(&-13)?;
    expect_error!("a removed key", by_result.get(&-13, 0) => MapError::KeyNotFound { name } if name == "by_result")?;

    let sum = 0x7_0000_0000 + i64::from(dir.as_raw_fd());
    let all = slots.iter().collect::<Result<Vec<_>, _>>()?;
    ensure!(
        all == [0x7_0000_0000, sum, i64::from(NOENT)],
        "the array holds {all:x?}"
    );
    iterate(map(&ebpf, "by_result")?)?;
    refusals(&ebpf)
}

/// Lists a full map while elements are removed: each is listed exactly once.
fn iterate(map: &Map) -> Result<()> {
    const FULL: usize = 16;
    let mut elements: HashMap<_, i32, u64> = map.clone().try_into()?;
    for key in 0.. {
        match elements.insert(key, 0, 0) {
            Ok(()) => {}
            Err(MapError::SyscallError { io_error, .. }) => {
                let full = io_error.raw_os_error() == Some(Errno::TOOBIG.raw_os_error());
                ensure!(full, "a full map gave {io_error}");
                break;
            }
            Err(error) => return Err(error.into()),
        }
    }
    let view: HashMap<_, i32, u64> = map.try_into()?;
    let mut expected = view.keys().collect::<Result<Vec<_>, _>>()?;
    let mut seen = Vec::new();
    for key in view.keys() {
        let key = key?;
        seen.push(key);
        if seen.len() % 3 != 1 {
            elements.remove(&key)?;
        }
    }
    seen.sort_unstable();
    expected.sort_unstable();
    ensure!(expected.len() == FULL, "a full map has {expected:?}");
    ensure!(
        seen == expected,
        "the iteration saw {seen:?} of {expected:?}"
    );
    let left = view.keys().count();
    ensure!(left == FULL.div_ceil(3), "{left} elements are left");
    Ok(())
}

fn refusals(ebpf: &Ebpf) -> Result<()> {
    expect_error(
        "a hash taken for an array",
        Array::<_, u64>::try_from(map(ebpf, "by_result")?),
        |error| matches!(error, MapError::UnexpectedMapType { expected: "array", found, .. } if found == "hash"),
    )?;
    let wide = HashMap::<_, i32, [u64; 2]>::try_from(map(ebpf, "by_result")?);
    expect_error!(
        "values of another size",
        wide => MapError::SizeMismatch { what: "value", expected: 8, found: 16, .. }
    )?;
    ensure!(
        ebpf.map("no_such_map").is_none(),
        "a map that does not exist was found"
    );
    Ok(())
}
