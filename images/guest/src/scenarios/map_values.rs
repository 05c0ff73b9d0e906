//! Initial values of arrays of programs and of maps.

use anyhow::{Context as _, Result, ensure};
use fexit::maps::Array;
use fexit::programs::OtherProgram;
use fexit::{Ebpf, Map};

use crate::objects;
use crate::scenario::{Context, scenarios};

scenarios! {
    map_values().parallel():
        "arrays of programs and of maps have the initial values of the object; a slot without one is empty";
}

fn map_values(_: &mut Context) -> Result<()> {
    let mut ebpf = Ebpf::load(objects::MAP_VALUES)?;
    for (map, number) in [("first", 1000), ("second", 2000u32)] {
        let mut map: Array<Map, u32> = ebpf.map(map).context("no map")?.clone().try_into()?;
        map.set(0, number, 0)?;
    }
    let load = |ebpf: &mut Ebpf, name: &str| -> Result<()> {
        let program = ebpf.program_mut(name).context("no program")?;
        let program: &mut OtherProgram = program.try_into()?;
        Ok(program.load()?)
    };
    for name in ["choose", "from_first"] {
        load(&mut ebpf, name)?;
    }
    let chosen = |ebpf: &Ebpf, index: usize| -> Result<u32> {
        let program = ebpf.program("choose").context("no program")?;
        Ok(program.test_run(&vec![0; 64 + index])?.return_value)
    };
    for (index, expected) in [(0, 1), (1, 1000), (2, 1), (3, 1)] {
        let found = chosen(&ebpf, index)?;
        ensure!(
            found == expected,
            "slot {index} gives {found}, not {expected}"
        );
    }
    load(&mut ebpf, "from_second")?;
    let found = chosen(&ebpf, 3)?;
    ensure!(
        found == 2000,
        "the slot of a program that was loaded later gives {found}, not 2000"
    );
    Ok(())
}
