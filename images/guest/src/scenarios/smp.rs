//! What can only go wrong on several CPUs: attaching and detaching while other CPUs call the function.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fexit::maps::{Array, PerCpuArray, RingBuf};
use fexit::programs::{FExitLinkId, Target};
use fexit::{Btf, Ebpf, Map};

use super::callers::{TAGS, call, stay_on, two_or_more_cpus, with_callers};
use super::counter::{Calls, Counter, is_in_kernel};
use super::fixture::{attached, fexit, map, start};
use super::ftrace::MISSED_CALLS;
use crate::objects;
use crate::scenario::{Context, poll_until, scenarios};

scenarios! {
    smp_attach_detach(Fexit):
        "attached and detached again and again while other CPUs call the function, a program sees exactly the calls between";
    smp_unload(Fexit): "unloaded while other CPUs run it, a program sees no later call, and leaves the kernel";
    smp_threads(Fexit): "threads on all CPUs load, attach and detach programs of one function at the same time";
    smp_other_programs(Fexit):
        "a program sees every call while others are attached to its function and detached from it";
    smp_drop_link(Fexit): "a link that is dropped on another CPU than it was made on detaches its program";
    smp_ring_buffer(RingBuf): "a ring buffer that all CPUs fill while it is read loses no record and tears none";
    smp_per_cpu_map(Fexit): "a per-CPU map holds the calls of each CPU in the value of that CPU";
}

/// The function that the programs of `smp.bpf.c` are for.
const FUNCTION: &str = "sched_getaffinity";

/// How many calls each caller makes at least, where a program must see all or none.
const CALLS: u64 = 200;

/// The counts of a program of `smp.bpf.c`, by tag.
fn by_tag(ebpf: &Ebpf) -> Result<Array<Map, u64>> {
    Ok(map(ebpf, "by_tag")?.clone().try_into()?)
}

fn smp_attach_detach(_: &mut Context) -> Result<()> {
    const ROUNDS: u32 = 6;
    let btf = Btf::from_sys_fs()?;
    let mut ebpf = Ebpf::load(objects::SMP)?;
    start(&ebpf)?;
    let counts = by_tag(&ebpf)?;
    let program = fexit(&mut ebpf, "count_by_tag")?;
    program.load_target(&Target::Section, &btf)?;
    with_callers(|callers| {
        for round in 0..ROUNDS {
            let [attaching, between, detaching, after] = [1, 2, 3, 4].map(|step| round * 4 + step);
            callers.switch(attaching)?;
            let id = program.attach()?;
            callers.switch(between)?;
            callers.wait_for_calls(between, CALLS)?;
            callers.switch(detaching)?;
            program.detach(id)?;
            callers.switch(after)?;
            callers.wait_for_calls(after, CALLS)?;
            // No call with the last tag is under way when it is counted.
            callers.switch(0)?;
            let seen = |tag: u32| counts.get(&tag, 0);
            ensure!(
                seen(between)? == callers.calls(between),
                "round {round}: attached, the program saw {} of {} calls",
                seen(between)?,
                callers.calls(between)
            );
            ensure!(
                seen(after)? == 0,
                "round {round}: detached, the program saw {} of {} calls",
                seen(after)?,
                callers.calls(after)
            );
            for tag in [attaching, detaching] {
                ensure!(
                    seen(tag)? <= callers.calls(tag),
                    "round {round}: the program saw {} calls, but there were {}",
                    seen(tag)?,
                    callers.calls(tag)
                );
            }
        }
        Ok(())
    })
}

fn smp_unload(_: &mut Context) -> Result<()> {
    const ROUNDS: u32 = 4;
    let btf = Btf::from_sys_fs()?;
    let mut ebpf = Ebpf::load(objects::SMP)?;
    start(&ebpf)?;
    let counts = by_tag(&ebpf)?;
    let program = fexit(&mut ebpf, "count_by_tag")?;
    let mut ids = Vec::new();
    with_callers(|callers| {
        for round in 0..ROUNDS {
            let [running, after] = [1, 2].map(|step| round * 2 + step);
            program.load_target(&Target::Section, &btf)?;
            ids.push(program.info()?.id);
            program.attach()?;
            callers.switch(running)?;
            callers.wait_for_calls(running, CALLS)?;
            program.unload()?;
            callers.switch(after)?;
            callers.wait_for_calls(after, CALLS)?;
            callers.switch(0)?;
            let (running, after) = (counts.get(&running, 0)?, counts.get(&after, 0)?);
            ensure!(
                running >= CALLS,
                "round {round}: attached, the program saw {running} calls"
            );
            ensure!(
                after == 0,
                "round {round}: unloaded, the program saw {after} calls"
            );
        }
        Ok(())
    })?;
    let left = || ids.iter().any(|&id| is_in_kernel(id));
    poll_until(
        "the programs leave the kernel",
        Duration::from_secs(10),
        || Ok((!left()).then_some(())),
    )
}

/// A program that counts all calls of this process, attached.
fn attached_counter(btf: &Btf) -> Result<(Counter, FExitLinkId)> {
    let mut counter = Counter::parsed()?;
    counter.program()?.load(FUNCTION, btf)?;
    let id = counter.program()?.attach()?;
    Ok((counter, id))
}

/// Calls the function a few times. Each of `firing` must see every call, each of `silent` none.
fn expect_calls(firing: &[&Counter], silent: &[&Counter]) -> Result<()> {
    const CALLS: u64 = 5;
    let expected = |counters: &[&Counter], calls: u64| -> Result<Vec<(Calls, u64)>> {
        let expected = |counter: &&Counter| Ok((counter.calls(), counter.calls().get()? + calls));
        counters.iter().map(expected).collect()
    };
    let (firing, silent) = (expected(firing, CALLS)?, expected(silent, 0)?);
    for _ in 0..CALLS {
        call(0)?;
    }
    for (calls, expected) in firing.iter().chain(&silent) {
        let seen = calls.get()?;
        ensure!(
            seen == *expected,
            "a program saw {seen} calls in all, not {expected}"
        );
    }
    Ok(())
}

/// Runs `body` in a thread for each of `items`, each thread on the next CPU, all at the same time.
fn on_cpus<I: Send, O: Send>(
    cpus: &[u32],
    items: Vec<I>,
    body: impl Fn(I) -> Result<O> + Sync,
) -> Result<Vec<O>> {
    let all_there = Barrier::new(items.len());
    thread::scope(|scope| {
        let spawn = |(item, &cpu)| {
            let (all_there, body) = (&all_there, &body);
            scope.spawn(move || {
                let moved = stay_on(cpu);
                all_there.wait();
                moved?;
                body(item)
            })
        };
        let threads: Vec<_> = items
            .into_iter()
            .zip(cpus.iter().cycle())
            .map(spawn)
            .collect();
        let join = |thread: ScopedJoinHandle<'_, Result<O>>| {
            thread.join().ok().context("a thread panicked")?
        };
        threads.into_iter().map(join).collect()
    })
}

fn smp_threads(_: &mut Context) -> Result<()> {
    const THREADS: usize = 4;
    const PROGRAMS: usize = 4;
    let cpus = two_or_more_cpus()?;
    let btf = Btf::from_sys_fs()?;
    let attach = |()| -> Result<Vec<_>> { (0..PROGRAMS).map(|_| attached_counter(&btf)).collect() };
    let attached = on_cpus(&cpus, vec![(); THREADS], attach)?;
    let counters: Vec<_> = attached
        .iter()
        .flatten()
        .map(|(counter, _)| counter)
        .collect();
    expect_calls(&counters, &[])?;

    // Each thread detaches every second of its programs.
    let detach = |programs: Vec<(Counter, FExitLinkId)>| -> Result<(Vec<Counter>, Vec<Counter>)> {
        let (mut kept, mut detached) = (Vec::new(), Vec::new());
        for (number, (mut counter, id)) in programs.into_iter().enumerate() {
            if number % 2 == 0 {
                kept.push(counter);
            } else {
                counter.program()?.detach(id)?;
                detached.push(counter);
            }
        }
        Ok((kept, detached))
    };
    let (kept, detached): (Vec<_>, Vec<_>) = on_cpus(&cpus, attached, detach)?.into_iter().unzip();
    let firing: Vec<_> = kept.iter().flatten().collect();
    let silent: Vec<_> = detached.iter().flatten().collect();
    expect_calls(&firing, &silent)
}

fn smp_other_programs(_: &mut Context) -> Result<()> {
    const ROUNDS: u32 = 4;
    const TAG: u32 = 1;
    let btf = Btf::from_sys_fs()?;
    let ebpf = attached(objects::SMP, "count_by_tag")?;
    start(&ebpf)?;
    let counts = by_tag(&ebpf)?;
    with_callers(|callers| {
        callers.switch(TAG)?;
        for _ in 0..ROUNDS {
            let (mut other, id) = attached_counter(&btf)?;
            other.program()?.detach(id)?;
        }
        callers.wait_for_calls(TAG, CALLS)?;
        callers.switch(0)?;
        let (seen, calls) = (counts.get(&TAG, 0)?, callers.calls(TAG));
        ensure!(
            seen == calls,
            "the program saw {seen} of {calls} calls; {MISSED_CALLS}"
        );
        Ok(())
    })
}

fn smp_drop_link(_: &mut Context) -> Result<()> {
    let cpus = two_or_more_cpus()?;
    let btf = Btf::from_sys_fs()?;
    stay_on(cpus[0])?;
    let (witness, _id) = attached_counter(&btf)?;
    for &cpu in &cpus[1..] {
        let (mut counter, id) = attached_counter(&btf)?;
        let link = counter.program()?.take_link(id)?;
        expect_calls(&[&witness, &counter], &[])?;
        on_cpus(&[cpu], vec![link], |link| {
            drop(link);
            Ok(())
        })?;
        expect_calls(&[&witness], &[&counter])?;
    }
    Ok(())
}

/// A record of `report` in `smp.bpf.c`.
struct Record {
    tag: u32,
    cpu: u32,
    number: u64,
}

impl Record {
    /// Reads a record, and compares its check word with the others.
    fn read(bytes: &[u8]) -> Result<Self> {
        let word = |at: usize| -> Result<u64> {
            let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk());
            Ok(u64::from_ne_bytes(*bytes.context("a record is too short")?))
        };
        let half = |at: usize| -> Result<u32> {
            let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk());
            Ok(u32::from_ne_bytes(*bytes.context("a record is too short")?))
        };
        let record = Self {
            tag: half(0)?,
            cpu: half(4)?,
            number: word(8)?,
        };
        let check = !record.number ^ (u64::from(record.cpu) << 32 | u64::from(record.tag));
        ensure!(
            bytes.len() == 24 && word(16)? == check,
            "a record is torn: {bytes:?}"
        );
        Ok(record)
    }
}

fn smp_ring_buffer(_: &mut Context) -> Result<()> {
    // They fit into the buffer, even if nothing is read.
    const RECORDS: u64 = 8000;
    const TAG: u32 = 7;
    let cpus = two_or_more_cpus()?;
    let ebpf = attached(objects::SMP, "report")?;
    let mut ring = RingBuf::try_from(map(&ebpf, "ring")?)?;
    start(&ebpf)?;
    let calls = RECORDS / cpus.len() as u64;
    let finished = AtomicBool::new(false);
    let mut next: BTreeMap<u32, u64> = BTreeMap::new();
    let mut read = || -> Result<()> {
        while let Some(bytes) = ring.next() {
            let record = Record::read(&bytes)?;
            let next = next.entry(record.cpu).or_default();
            ensure!(
                (record.tag, record.number) == (TAG, *next),
                "CPU {}: record {} with tag {} instead of record {next} with tag {TAG}",
                record.cpu,
                record.number,
                record.tag
            );
            *next += 1;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let callers = cpus.clone();
        let (finished, cpus) = (&finished, &cpus);
        let caller = scope.spawn(move || {
            let result = on_cpus(cpus, callers, |_| (0..calls).try_for_each(|_| call(TAG)));
            finished.store(true, SeqCst);
            result
        });
        let mut result = Ok(());
        while result.is_ok() && !finished.load(SeqCst) {
            result = read();
        }
        caller.join().ok().context("a thread panicked")??;
        result
    })?;
    read()?;
    let dropped: u64 = ebpf.global("dropped")?;
    ensure!(dropped == 0, "{dropped} records found no room");
    let expected: BTreeMap<u32, u64> = cpus.iter().map(|&cpu| (cpu, calls)).collect();
    ensure!(
        next == expected,
        "records by CPU: {next:?}, not {expected:?}"
    );
    Ok(())
}

fn smp_per_cpu_map(_: &mut Context) -> Result<()> {
    let cpus = two_or_more_cpus()?;
    let ebpf = attached(objects::SMP, "count_by_cpu")?;
    start(&ebpf)?;
    let calls = |cpu: u32| 100 * (u64::from(cpu) + 1);
    on_cpus(&cpus, cpus.clone(), |cpu| {
        (0..calls(cpu)).try_for_each(|_| call(cpu % TAGS))
    })?;
    let counts: PerCpuArray<_, u64> = map(&ebpf, "by_cpu")?.clone().try_into()?;
    for &tag in &cpus {
        let values = counts.get(&(tag % TAGS), 0)?;
        for (cpu, &seen) in (0..).zip(values.iter()) {
            let expected = if cpu == tag { calls(cpu) } else { 0 };
            ensure!(
                seen == expected,
                "tag {tag}: CPU {cpu} has {seen} calls, not {expected}"
            );
        }
    }
    Ok(())
}
