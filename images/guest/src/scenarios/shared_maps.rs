//! Shared maps: with another library, with other objects, and through a pin.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::process;

use anyhow::{Context as _, Result, ensure};
use fexit::maps::Array;
use fexit::programs::Target;
use fexit::{Btf, Ebpf, EbpfError, EbpfLoader, Map, MapError};

use super::counter::{Counter, FUNCTION, expect_error, look_up};
use super::fixture::fexit;
use crate::objects;
use crate::scenario::{Context, scenarios};

scenarios! {
    map_of_aya(Fexit).parallel(): "a program uses a map that aya created; a map with another definition is refused";
    pinned_map(Fexit).parallel():
        "objects share a pinned map, which stays pinned; a map with another definition is refused";
}

fn map_of_aya(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let theirs = aya::Ebpf::load(objects::COUNT_CALLS)?;
    let aya::maps::Map::Array(data) = theirs.map("calls").context("no map")? else {
        anyhow::bail!("aya takes it for another kind of map");
    };
    let map = Map::from_fd(data.fd().as_fd().try_clone_to_owned()?)?;
    ensure!(map.name() == "calls" && map.kind() == "array", "{map:?}");
    let mut ours = EbpfLoader::new()
        .reuse_map("calls", &map)
        .load(objects::COUNT_CALLS)?;
    let program = fexit(&mut ours, "count_calls")?;
    program.load(FUNCTION, &btf)?;
    program.attach()?;
    ours.set_global("tgid", process::id())?;
    let calls: aya::maps::Array<_, u64> = theirs.map("calls").context("no map")?.try_into()?;
    let before = calls.get(&0, 0)?;
    for _ in 0..3 {
        look_up()?;
    }
    let seen = calls.get(&0, 0)? - before;
    ensure!(seen == 3, "aya read {seen} of 3 calls");

    let mut loader = EbpfLoader::new();
    expect_error!(
        "a map for one that the object does not have",
        loader.reuse_map("no_such_map", &map).load(objects::COUNT_CALLS)
            => EbpfError::Map(MapError::UnknownMap { name, .. }) if name == "no_such_map"
    )?;
    expect_error!(
        "an array for a hash",
        EbpfLoader::new().reuse_map("by_result", &map).load(objects::MAPS)
            => EbpfError::Map(MapError::DefinitionMismatch { found, .. }) if found.contains("array")
    )?;
    let (mut counter, _) = Counter::attached(&btf)?;
    let fd = counter.program()?.fd()?.try_clone_to_owned()?;
    expect_error!("a program for a map", Map::from_fd(fd) => MapError::SyscallError { .. })?;
    Ok(())
}

fn pinned_map(_: &mut Context) -> Result<()> {
    let dir = Path::new("/sys/fs/bpf/pinned_map");
    fs::create_dir(dir)?;
    let result = share(dir);
    fs::remove_dir_all(dir)?;
    result
}

fn share(dir: &Path) -> Result<()> {
    let path = dir.join("shared_calls");
    let mut objects = Vec::new();
    for _ in 0..2 {
        let mut ebpf = EbpfLoader::new()
            .default_map_pin_directory(dir)
            .load(objects::PINNED)?;
        let program = fexit(&mut ebpf, "pinned")?;
        program.load_target(&Target::Section, &Btf::from_sys_fs()?)?;
        program.attach()?;
        ensure!(path.exists(), "the map is not pinned");
        objects.push(ebpf);
    }
    for ebpf in &objects {
        ebpf.set_global("tgid", process::id())?;
    }
    let count = || -> Result<u64> {
        let calls: Array<_, u64> = Map::from_pin(&path)?.try_into()?;
        Ok(calls.get(&0, 0)?)
    };
    let before = count()?;
    look_up()?;
    let seen = count()? - before;
    // Opening the pin is a path lookup, too.
    ensure!(
        seen >= 2 && seen.is_multiple_of(2),
        "two programs counted {seen} calls"
    );
    drop(objects);
    let before = count()?;
    ensure!(before != 0, "the map did not outlive the programs");

    // Another object may reuse it as one of its maps.
    let ebpf = EbpfLoader::new()
        .map_pin_path("calls", &path)
        .load(objects::COUNT_CALLS)?;
    let calls: Array<_, u64> = ebpf.map("calls").context("no map")?.try_into()?;
    ensure!(calls.get(&0, 0)? == before, "it is another map");
    let ebpf = EbpfLoader::new()
        .map_pin_path("by_result", &path)
        .load(objects::MAPS)?;
    let map = ebpf.map("by_result").context("no map")?;
    expect_error!(
        "a hash that is pinned as an array",
        map.fd() => MapError::DefinitionMismatch { place, .. } if place.contains("shared_calls")
    )?;

    let ebpf = Ebpf::load(objects::COUNT_CALLS)?;
    let map = ebpf.map("calls").context("no map")?;
    // A map that is given for one that is shared by a name is shared by it.
    let give = |map: &Map, name: &str| {
        EbpfLoader::new()
            .map_pin_path("calls", dir.join(name))
            .reuse_map("calls", map)
            .load(objects::COUNT_CALLS)
    };
    expect_error(
        "a map in the place of another",
        give(map, "shared_calls"),
        |error| {
            let text = error.to_string();
            matches!(error, EbpfError::Map(MapError::Pin { .. })) && text.contains("another map")
        },
    )?;
    ensure!(count()? == before, "the pinned map is another one");
    give(&Map::from_pin(&path)?, "shared_calls")?;
    give(map, "given")?;
    let given: Array<_, u64> = Map::from_pin(dir.join("given"))?.try_into()?;
    let mut calls: Array<_, u64> = map.clone().try_into()?;
    calls.set(0, 77, 0)?;
    ensure!(given.get(&0, 0)? == 77, "another map was pinned");

    let error = expect_error!("a name that is taken", map.pin(&path) => MapError::Pin { .. })?;
    ensure!(error.to_string().contains("free name"), "{error}");
    map.pin(dir.join("mine"))?;
    ensure!(dir.join("mine").exists(), "the map is not pinned");
    expect_error!("a name outside", map.pin("/tmp/no_bpf_here") => MapError::Pin { .. })?;
    expect_error!("a name of nothing", Map::from_pin(dir.join("none")) => MapError::Pin { .. })?;
    Ok(())
}
