//! Maps that the object declares.

use std::os::fd::AsRawFd;
use std::process;

use anyhow::{Context as _, Result, ensure};
use fexit::maps::{Array, HashMap};
use fexit::programs::FExit;
use fexit::{Btf, Ebpf, Feature, Map, MapError};
use rustix::fs::{Access, AtFlags, Mode, OFlags, accessat, open};
use rustix::io::Errno;

use super::counter::{FUNCTION, expect_error};
use crate::objects;
use crate::scenario::{Context, Scenario};

pub(super) const SCENARIOS: &[Scenario] = &[Scenario::new(
    "maps",
    "hash and array of the object are created, and shared between the program and user space",
    Feature::Fexit,
    maps,
)];

fn maps(_: &mut Context) -> Result<()> {
    let mut ebpf = Ebpf::load(objects::MAPS)?;
    ensure!(
        !map(&ebpf, "by_result")?.is_created(),
        "a map was created before anybody used it"
    );
    let program: &mut FExit = ebpf.program_mut("maps").context("no program")?.try_into()?;
    program.load(FUNCTION, &Btf::from_sys_fs()?)?;
    ensure!(
        map(&ebpf, "by_result")?.is_created(),
        "a loaded program's map was not created"
    );
    let by_result: HashMap<i32, u64> = map(&ebpf, "by_result")?.try_into()?;
    let slots: Array<i64> = map(&ebpf, "slots")?.try_into()?;

    const NOENT: i32 = -2;
    const NOTDIR: i32 = -20;
    by_result.insert(NOENT, 40)?;
    by_result.insert(-13, 1)?;
    slots.set(0, 0x7_0000_0000)?;
    let program: &mut FExit = ebpf.program_mut("maps").context("no program")?.try_into()?;
    program.attach()?;
    let dir = open("/proc", OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
    // Only now do calls count: attaching may look up paths of its own.
    ebpf.set_global("tgid", process::id())?;
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
        by_result.get(&NOENT)? == 42,
        "the program did not add to what was there"
    );
    let mut all: Vec<_> = by_result.iter()?.collect();
    all.sort_unstable();
    let expected = [(NOTDIR, 1), (-13, 1), (NOENT, 42), (0, 1)];
    ensure!(all == expected, "the hash holds {all:?}, not {expected:?}");
    by_result.remove(&-13)?;
    expect_error(
        "a removed key",
        by_result.get(&-13),
        |error| matches!(error, MapError::KeyNotFound { name } if name == "by_result"),
    )?;

    let sum = 0x7_0000_0000 + i64::from(dir.as_raw_fd());
    let all = slots.iter().collect::<Result<Vec<_>, _>>()?;
    ensure!(
        all == [0x7_0000_0000, sum, i64::from(NOENT)],
        "the array holds {all:x?}"
    );
    refusals(&ebpf)
}

fn refusals(ebpf: &Ebpf) -> Result<()> {
    expect_error(
        "a hash taken for an array",
        Array::<u64>::try_from(map(ebpf, "by_result")?),
        |error| matches!(error, MapError::UnexpectedMapType { expected: "array", found, .. } if found == "hash"),
    )?;
    let wide = HashMap::<i32, [u64; 2]>::try_from(map(ebpf, "by_result")?);
    expect_error("values of another size", wide, |error| {
        matches!(
            error,
            MapError::SizeMismatch {
                what: "value",
                expected: 8,
                found: 16,
                ..
            }
        )
    })?;
    ensure!(
        ebpf.map("no_such_map").is_none(),
        "a map that does not exist was found"
    );
    Ok(())
}

fn map<'a>(ebpf: &'a Ebpf, name: &str) -> Result<&'a Map> {
    ebpf.map(name).with_context(|| format!("no map `{name}`"))
}
