//! The overhead of fexit on a call of its target, compared with other attach types.

use std::any::Any;
use std::ffi::CString;
use std::hint::black_box;
use std::io;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aya::programs::KProbe;
use fexit::programs::FEntry;
use fexit::{Btf, Ebpf};
use rustix::process::getppid;

use super::fixture::fexit;
use crate::objects;
use crate::scenario::{Context, scenarios, syscall};
use crate::sys::attach_kretprobe_multi;

scenarios! {
    overhead(Fexit).timeout(Duration::from_secs(120)):
        "measures the nanoseconds that fexit, fentry, kprobe, kretprobe and kretprobe.multi add to a call";
}

/// The programs take turns, so that a change of load affects all of them. In each turn, rounds without and with the
/// program alternate as closely as attaching allows.
const TURNS: usize = 3;
const ROUNDS: usize = 12;
const CALLS: u32 = 200;

/// Attaches a program. Dropping the value detaches it. `None` if this kernel has no such attach type.
type Attach<'a> = Box<dyn FnMut() -> Result<Option<Box<dyn Any>>> + 'a>;

fn overhead(context: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    // From 5.7 on, where the compiler keeps it, and others.
    let names = ["__do_sys_getppid".to_owned(), syscall("getppid")];
    let mut there = names.iter().filter(|name| btf.has_function(name));
    let function = there.next().context("no function of getppid(2)")?.as_str();
    let mut objects = [
        Ebpf::load(objects::OVERHEAD)?,
        Ebpf::load(objects::OVERHEAD)?,
        Ebpf::load(objects::OVERHEAD)?,
    ];
    let mut probes = [
        aya::Ebpf::load(objects::OVERHEAD)?,
        aya::Ebpf::load(objects::OVERHEAD)?,
    ];
    {
        let [empty, counting, entry] = &mut objects;
        let [kprobe, kretprobe] = &mut probes;
        let mut kinds = [
            (
                "fexit_empty",
                fexit_program(empty, "fexit_empty", function, &btf)?,
            ),
            (
                "fexit_counting",
                fexit_program(counting, "fexit_counting", function, &btf)?,
            ),
            ("fentry_empty", fentry_program(entry, function, &btf)?),
            ("kprobe_empty", probe(kprobe, "kprobe_empty", function)?),
            (
                "kretprobe_empty",
                probe(kretprobe, "kretprobe_empty", function)?,
            ),
            ("kretprobe_multi_empty", kretprobe_multi(function)?),
        ];
        measure(context, &mut kinds)?;
    }
    let calls: u64 = objects[1].global("calls")?;
    let expected = u64::from(CALLS) * (TURNS * ROUNDS) as u64;
    ensure!(
        calls >= expected,
        "the counting program ran {calls} of {expected} times"
    );
    Ok(())
}

/// Reports the median of what each program adds, and the spread: the range of the middle half of all rounds.
fn measure(context: &mut Context, kinds: &mut [(&str, Attach<'_>)]) -> Result<()> {
    let mut bare = Vec::new();
    let mut added = vec![Vec::new(); kinds.len()];
    for _ in 0..TURNS {
        for ((_, attach), added) in kinds.iter_mut().zip(&mut added) {
            let without = rounds();
            let Some(link) = attach()? else { continue };
            let with = rounds();
            drop(link);
            added.extend(
                with.iter()
                    .zip(&without)
                    .map(|(with, without)| with - without),
            );
            bare.extend(without);
        }
    }
    context.measure("bare_ns", quartiles(bare)[1].round());
    for ((name, _), added) in kinds.iter().zip(added) {
        if !added.is_empty() {
            let [first, median, third] = quartiles(added);
            context.measure(&format!("{name}_added_ns"), median.round());
            context.measure(&format!("{name}_added_spread"), (third - first).round());
        }
    }
    Ok(())
}

/// The nanoseconds of a call, in several rounds. The first calls, which fill caches, do not count.
fn rounds() -> Vec<f64> {
    let round = |_| {
        let start = Instant::now();
        for _ in 0..CALLS {
            black_box(getppid());
        }
        start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
    };
    (0..=ROUNDS).map(round).skip(1).collect()
}

/// The first quartile, the median and the third quartile.
fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    [1, 2, 3].map(|quarter| values.get(last * quarter / 4).copied().unwrap_or_default())
}

fn fexit_program<'a>(
    ebpf: &'a mut Ebpf,
    name: &str,
    function: &str,
    btf: &Btf,
) -> Result<Attach<'a>> {
    let program = fexit(ebpf, name)?;
    program.load(function, btf)?;
    Ok(Box::new(move || {
        let id = program.attach()?;
        Ok(Some(Box::new(program.take_link(id)?)))
    }))
}

fn fentry_program<'a>(ebpf: &'a mut Ebpf, function: &str, btf: &Btf) -> Result<Attach<'a>> {
    let program = ebpf.program_mut("fentry_empty").context("no program")?;
    let program: &mut FEntry = program.try_into()?;
    program.load(function, btf)?;
    Ok(Box::new(move || {
        let id = program.attach()?;
        Ok(Some(Box::new(program.take_link(id)?)))
    }))
}

/// aya loads kprobes. A kernel without them still gives the other figures.
fn probe<'a>(ebpf: &'a mut aya::Ebpf, name: &str, function: &'a str) -> Result<Attach<'a>> {
    let probe: &mut KProbe = ebpf.program_mut(name).context("no program")?.try_into()?;
    probe.load()?;
    Ok(Box::new(move || {
        let Ok(id) = probe.attach(function, 0) else {
            return Ok(None);
        };
        Ok(Some(Box::new(probe.take_link(id)?)))
    }))
}

fn kretprobe_multi<'a>(function: &str) -> Result<Attach<'a>> {
    let function = CString::new(function)?;
    let has_links = Btf::from_sys_fs()?.has_function("bpf_kprobe_multi_link_attach");
    Ok(Box::new(move || match attach_kretprobe_multi(&function) {
        Ok(link) => Ok(Some(Box::new(link))),
        // Before 5.18, or in a kernel built without FPROBE.
        Err(error) if !has_links || error.kind() == io::ErrorKind::Unsupported => Ok(None),
        Err(error) => Err(error).context("cannot attach a kretprobe by a link"),
    }))
}

#[cfg(test)]
mod tests {
    use super::quartiles;

    #[test]
    fn quartiles_of_unsorted_values() {
        assert_eq!(quartiles(vec![5.0, 1.0, 4.0, 2.0, 3.0]), [2.0, 3.0, 4.0]);
        assert_eq!(quartiles(vec![7.0]), [7.0; 3]);
        assert_eq!(quartiles(Vec::new()), [0.0; 3]);
    }
}
