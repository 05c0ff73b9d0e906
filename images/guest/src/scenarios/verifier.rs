//! What the verifier says, and what the kernel counts.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use fexit::maps::HashMap;
use fexit::programs::{FExit, ProgramError, Target};
use fexit::{Btf, Ebpf, EbpfLoader, Feature, VerifierLogLevel};

use super::counter::{Counter, expect, expect_error, look_up};
use crate::objects;
use crate::scenario::{Context, Scenario};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "verifier_refuses",
        "a refused program brings the verifier's words, short in the message and whole beside it",
        Feature::Fexit,
        verifier_refuses,
    )
    .beside_others(),
    Scenario::new(
        "missing_field",
        "a program that reads a field which the kernel lacks is refused with the field's name, unless it asks first",
        Feature::Fexit,
        missing_field,
    )
    .beside_others(),
    Scenario::new(
        "verifier_log",
        "the log of an accepted program is kept when asked for, however long, and empty when not",
        Feature::Fexit,
        verifier_log,
    )
    .beside_others(),
    Scenario::new(
        "run_statistics",
        "the kernel counts each run of a program while its statistics are on",
        Feature::Fexit,
        run_statistics,
    ),
    Scenario::new(
        "recursion_misses",
        "a program that calls its own target is left out the second time, and that is counted",
        Feature::RecursionMisses,
        recursion_misses,
    )
    .beside_others(),
];

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut FExit> {
    Ok(ebpf
        .program_mut(name)
        .context("no such program")?
        .try_into()?)
}

fn verifier_refuses(_: &mut Context) -> Result<()> {
    let mut ebpf = Ebpf::load(objects::REFUSED)?;
    let load = program(&mut ebpf, "beyond")?.load_target(&Target::Section, &Btf::from_sys_fs()?);
    let error = expect_error("a read beyond the arguments", load, |error| {
        matches!(error, ProgramError::LoadError { .. })
    })?;
    let text = error.to_string();
    ensure!(
        text.contains("`beyond`") && text.contains("invalid bpf_context access"),
        "{text}"
    );
    ensure!(
        text.lines().count() == 1,
        "the message has more than one line: {text}"
    );
    let ProgramError::LoadError { verifier_log, .. } = error else {
        return Ok(());
    };
    // Lines of the source are in the log only if the program was loaded with its line information.
    ensure!(
        verifier_log.contains("return ctx[11] != 0;"),
        "the source is not in the log: {verifier_log}"
    );
    ensure!(
        verifier_log.lines().count() > 2,
        "this is not the whole log: {verifier_log}"
    );
    Ok(())
}

fn missing_field(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let mut ebpf = Ebpf::load(objects::REFUSED)?;
    let load = program(&mut ebpf, "lacking")?.load_target(&Target::Section, &btf);
    let error = expect_error("a read of a missing field", load, |error| {
        matches!(error, ProgramError::CoreMissing { .. })
    })?;
    let text = error.to_string();
    ensure!(
        text.contains("`lacking`") && text.contains("qstr") && text.contains("no_such_field"),
        "the error does not name program and field: {text}"
    );
    Ok(program(&mut ebpf, "careful")?.load_target(&Target::Section, &btf)?)
}

fn verifier_log(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    for (level, said) in [
        (VerifierLogLevel::DISABLE, false),
        (VerifierLogLevel::DEBUG, true),
        (VerifierLogLevel::VERBOSE, true),
        (VerifierLogLevel::STATS, true),
    ] {
        let mut ebpf = EbpfLoader::new()
            .verifier_log_level(level)
            .load(objects::REFUSED)?;
        let fine = program(&mut ebpf, "fine")?;
        fine.load_target(&Target::Section, &btf)?;
        let log = fine.verifier_log();
        ensure!(log.contains("processed ") == said, "{level:?} gave: {log}");
    }
    // More than the first buffer holds: it grows until all of it fits.
    let mut ebpf = EbpfLoader::new()
        .verifier_log_level(VerifierLogLevel::VERBOSE)
        .load(objects::REFUSED)?;
    let lengthy = program(&mut ebpf, "lengthy")?;
    lengthy.load_target(&Target::Section, &btf)?;
    let log = lengthy.verifier_log();
    ensure!(
        log.len() > 64 << 10 && log.contains("processed "),
        "the log has {} bytes, and ends {}",
        log.len(),
        log.lines().last().unwrap_or_default()
    );
    Ok(())
}

fn run_statistics(_: &mut Context) -> Result<()> {
    const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";
    const RUNS: u64 = 7;
    let (mut counter, _) = Counter::attached(&Btf::from_sys_fs()?)?;
    let runs = |counter: &mut Counter| -> Result<(u64, u64)> {
        let info = counter.program()?.info()?;
        Ok((info.run_count, info.run_time_ns))
    };
    let before = counter.calls().get()?;
    fs::write(SWITCH, "1").context("switching statistics on")?;
    for _ in 0..RUNS {
        look_up()?;
    }
    fs::write(SWITCH, "0")?;
    let (count, nanoseconds) = runs(&mut counter)?;
    let seen = counter.calls().get()? - before;
    // The program also runs for other processes, whose calls it does not count itself.
    ensure!(
        count >= seen && seen >= RUNS,
        "{count} runs were counted, the program saw {seen}"
    );
    ensure!(nanoseconds > 0, "{count} runs took no time at all");
    expect(&[&counter.calls()], &[])?;
    let after = runs(&mut counter)?;
    ensure!(
        after.0 == count,
        "runs are still counted with statistics off"
    );
    Ok(())
}

fn recursion_misses(_: &mut Context) -> Result<()> {
    const UPDATES: u64 = 3;
    let btf = Btf::from_sys_fs()?;
    // Without a guard the program would call itself without end, so one that does not is asked first.
    Counter::loaded(&btf)?
        .program()?
        .info()?
        .recursion_misses()?;
    let mut ebpf = Ebpf::load(objects::RECURSION)?;
    let knocker = ebpf.take_map("knocker").context("no map")?;
    let mut knocker: HashMap<_, u32, u64> = knocker.try_into()?;
    let recurses = program(&mut ebpf, "recurses")?;
    recurses.load_target(&Target::Section, &btf)?;
    recurses.attach()?;
    ebpf.set_global("tgid", std::process::id())?;
    for value in 0..UPDATES {
        knocker.insert(7, value, 0)?;
    }
    let calls: u64 = ebpf.global("calls")?;
    let misses = program(&mut ebpf, "recurses")?.info()?.recursion_misses()?;
    ensure!(
        calls == UPDATES,
        "{UPDATES} updates made it run {calls} times"
    );
    ensure!(
        misses == UPDATES,
        "{misses} runs were left out, not {UPDATES}"
    );
    Ok(())
}
