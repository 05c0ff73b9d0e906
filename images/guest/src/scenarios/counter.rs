//! A program that counts the calls of a function, and the calls that it counts.

use std::process;

use anyhow::{Context as _, Result, bail, ensure};
use fexit::maps::Array;
use fexit::programs::{FExit, FExitLinkId, Target};
use fexit::{Btf, Ebpf, Map};
use rustix::fs::{Access, access};

use crate::objects;

/// The function that most scenarios attach to: any path lookup calls it once.
pub(super) const FUNCTION: &str = "filename_lookup";

/// The counting program, in its own object.
pub(super) struct Counter {
    ebpf: Ebpf,
    calls: Calls,
}

/// How many calls a [`Counter`] saw. It stays readable after the counter is dropped.
#[derive(Clone)]
pub(super) struct Calls(Array<Map, u64>);

impl Counter {
    /// The program after [`Ebpf::load`]: parsed, not loaded into the kernel.
    pub(super) fn parsed() -> Result<Self> {
        let ebpf = Ebpf::load(objects::COUNT_CALLS)?;
        ebpf.set_global("tgid", process::id())?;
        let map = ebpf.map("calls").context("no map `calls`")?;
        let calls = Calls(map.clone().try_into()?);
        Ok(Self { ebpf, calls })
    }

    /// Loaded for [`FUNCTION`].
    pub(super) fn loaded(btf: &Btf) -> Result<Self> {
        let mut counter = Self::parsed()?;
        counter.program()?.load(FUNCTION, btf)?;
        Ok(counter)
    }

    /// Attached to [`FUNCTION`].
    pub(super) fn attached(btf: &Btf) -> Result<(Self, FExitLinkId)> {
        let mut counter = Self::loaded(btf)?;
        let id = counter.program()?.attach()?;
        Ok((counter, id))
    }

    pub(super) fn program(&mut self) -> Result<&mut FExit> {
        let program = self
            .ebpf
            .program_mut("count_calls")
            .context("no program `count_calls`")?;
        Ok(program.try_into()?)
    }

    /// The map that holds the count.
    pub(super) fn map(&self) -> Result<&Map> {
        self.ebpf.map("calls").context("no map `calls`")
    }

    pub(super) fn calls(&self) -> Calls {
        self.calls.clone()
    }
}

impl Calls {
    pub(super) fn get(&self) -> Result<u64> {
        Ok(self.0.get(&0, 0)?)
    }
}

/// Looks up a path: one call of [`FUNCTION`].
pub(super) fn look_up() -> Result<()> {
    access("/", Access::EXISTS).context("looking up /")
}

/// How often [`expect`] calls the function.
pub(super) const ROUNDS: u64 = 5;

/// Calls [`FUNCTION`] [`ROUNDS`] times. Each of `firing` must see every call once, each of `silent` none.
///
/// A silent counter proves little by itself: pass one that fires as well.
pub(super) fn expect(firing: &[&Calls], silent: &[&Calls]) -> Result<()> {
    let counts = |all: &[&Calls]| {
        all.iter()
            .map(|calls| calls.get())
            .collect::<Result<Vec<_>>>()
    };
    let before = (counts(firing)?, counts(silent)?);
    for _ in 0..ROUNDS {
        look_up()?;
    }
    for (before, after) in before.0.iter().zip(counts(firing)?) {
        let seen = after - before;
        ensure!(
            seen == ROUNDS,
            "an attached program saw {seen} of {ROUNDS} calls"
        );
    }
    for (before, after) in before.1.iter().zip(counts(silent)?) {
        let seen = after - before;
        ensure!(
            seen == 0,
            "a detached program still saw {seen} of {ROUNDS} calls"
        );
    }
    Ok(())
}

/// Whether the kernel has a program with this id.
pub(super) fn is_in_kernel(program_id: u32) -> bool {
    Target::program_id(program_id, None).is_ok()
}

/// Requires an error for which `is_expected` holds. Returns any other error unchanged, for example `Unsupported`.
pub(super) fn expect_error<T, E: Into<anyhow::Error>>(
    what: &str,
    result: std::result::Result<T, E>,
    is_expected: impl FnOnce(&E) -> bool,
) -> Result<E> {
    match result {
        Ok(_) => bail!("{what} succeeded"),
        Err(error) if is_expected(&error) => Ok(error),
        Err(error) => Err(error.into().context(format!("{what} gave another error"))),
    }
}
