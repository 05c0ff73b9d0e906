//! The verifier's log, and the kernel's counters.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use fexit::maps::HashMap;
use fexit::programs::{ProgramError, ProgramInfo, ProgramSize, Target, VerifierStats};
use fexit::{Btf, Ebpf, EbpfLoader, Helper, VerifierLogLevel};
use rustix::mount::{MountFlags, mount};

use super::counter::{Counter, expect, look_up};
use super::fixture::fexit;
use crate::objects;
use crate::scenario::{Context, scenarios};

scenarios! {
    verifier_refuses(Fexit).parallel():
        "the error of a refused program has the verifier's reason in its message, and the full log";
    too_new_callback(Fexit).parallel():
        "the error says that the kernel has no callbacks, instead of repeating the verifier";
    selftest_lockdown(Fexit).hidden():
        "under lockdown the error about a helper that reads kernel memory names lockdown, and other programs work";
    missing_field(Fexit).parallel():
        "a program that reads a missing field is refused with its name, unless it checks bpf_core_field_exists";
    verifier_log(Fexit).parallel():
        "the verifier log of an accepted program is complete if requested, and empty if not";
    verifier_figures(Fexit).parallel():
        "the verifier figures of a program are those that the kernel keeps, and its sizes fit together";
    run_statistics(Fexit): "the kernel counts the runs of a program while statistics are enabled";
    recursion_misses(RecursionMisses).parallel():
        "the kernel skips and counts the recursion of a program that calls its own target";
}

fn verifier_refuses(_: &mut Context) -> Result<()> {
    let mut ebpf = Ebpf::load(objects::REFUSED)?;
    let load = fexit(&mut ebpf, "beyond")?.load_target(&Target::Section, &Btf::from_sys_fs()?);
    let error =
        expect_error!("a read beyond the arguments", load => ProgramError::LoadError { .. })?;
    let text = error.to_string();
    let (reason, instruction) = ("invalid bpf_context access", "(79) r1 = *(u64 *)(r1 +88)");
    let (reason, instruction) = (text.find(reason), text.find(instruction));
    ensure!(
        text.contains("`beyond`") && reason.is_some() && reason < instruction,
        "the reason does not come first, the instruction after it: {text}"
    );
    ensure!(
        text.lines().count() == 1,
        "the message has more than one line: {text}"
    );
    let ProgramError::LoadError { verifier_log, .. } = error else {
        return Ok(());
    };
    // The log has source lines only if the program was loaded with line information.
    ensure!(
        verifier_log.contains("return ctx[11] != 0;"),
        "the source is not in the log: {verifier_log}"
    );
    ensure!(
        verifier_log.lines().count() > 2,
        "this is not the full log: {verifier_log}"
    );
    Ok(())
}

/// The helper that came with callbacks.
const FOR_EACH_MAP_ELEM: u32 = 164;

fn too_new_callback(_: &mut Context) -> Result<()> {
    let mut ebpf = Ebpf::load(objects::REFUSED)?;
    let btf = Btf::from_sys_fs()?;
    let load = fexit(&mut ebpf, "rounds")?.load_target(&Target::Section, &btf);
    let error = match load {
        Ok(()) => return Ok(()),
        Err(ProgramError::TooNew { too_new, .. }) => {
            let what: Vec<&str> = too_new.iter().map(|one| one.what.as_str()).collect();
            let for_each = Helper::by_number(FOR_EACH_MAP_ELEM).context("no such helper")?;
            let has_callbacks = Helper::all_in(&btf).contains(&for_each);
            return match what.as_slice() {
                ["bpf_loop", "a callback"] if !has_callbacks => Ok(()),
                ["bpf_loop"] if has_callbacks => Ok(()),
                other => {
                    bail!("the kernel has callbacks: {has_callbacks}, and the reason is {other:?}")
                }
            };
        }
        // This verifier knows callbacks, and names the helper.
        Err(ProgramError::UnknownHelper { helper, .. }) if helper.name == "loop" => return Ok(()),
        Err(error) => error,
    };
    Err(anyhow::Error::from(error).context("callbacks are not the reason"))
}

/// Lockdown cannot be undone, so this scenario runs in its own VM.
fn selftest_lockdown(_: &mut Context) -> Result<()> {
    const SECURITYFS: &str = "/sys/kernel/security";
    let switch = Path::new(SECURITYFS).join("lockdown");
    if !switch.exists() {
        mount(
            "securityfs",
            SECURITYFS,
            "securityfs",
            MountFlags::empty(),
            None,
        )
        .context("mounting securityfs")?;
    }
    fs::write(&switch, "confidentiality").context("locking the kernel down")?;
    let mut ebpf = Ebpf::load(objects::REFUSED)?;
    let btf = Btf::from_sys_fs()?;
    let load = fexit(&mut ebpf, "reads_kernel")?.load_target(&Target::Section, &btf);
    let error =
        expect_error!("a helper that lockdown forbids", load => ProgramError::LockedDown { .. })?;
    let text = error.to_string();
    for part in [
        "`reads_kernel`",
        "bpf_probe_read_kernel",
        "`confidentiality`",
    ] {
        ensure!(text.contains(part), "{part} is missing: {text}");
    }
    let fine = fexit(&mut ebpf, "fine")?;
    fine.load_target(&Target::Section, &btf)?;
    fine.attach()?;
    Ok(())
}

fn missing_field(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let mut ebpf = Ebpf::load(objects::REFUSED)?;
    let load = fexit(&mut ebpf, "lacking")?.load_target(&Target::Section, &btf);
    let error = expect_error!("a read of a missing field", load => ProgramError::UnresolvedCoreRelocation { .. })?;
    let text = error.to_string();
    ensure!(
        text.contains("`lacking`") && text.contains("qstr") && text.contains("no_such_field"),
        "the error does not name program and field: {text}"
    );
    Ok(fexit(&mut ebpf, "careful")?.load_target(&Target::Section, &btf)?)
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
        let fine = fexit(&mut ebpf, "fine")?;
        fine.load_target(&Target::Section, &btf)?;
        let log = fine.verifier_log();
        ensure!(log.contains("processed ") == said, "{level:?} gave: {log}");
    }
    // More than the first buffer holds, so the buffer grows.
    let mut ebpf = EbpfLoader::new()
        .verifier_log_level(VerifierLogLevel::VERBOSE)
        .load(objects::REFUSED)?;
    let lengthy = fexit(&mut ebpf, "lengthy")?;
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

fn verifier_figures(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let load = |name: &str| -> Result<(VerifierStats, ProgramSize, ProgramInfo)> {
        let mut ebpf = EbpfLoader::new()
            .verifier_log_level(VerifierLogLevel::STATS)
            .load(objects::REFUSED)?;
        fexit(&mut ebpf, name)?.load_target(&Target::Section, &btf)?;
        let program = ebpf.program(name).context("no such program")?;
        let stats = VerifierStats::parse(program.verifier_log()).context("no figures")?;
        Ok((stats, program.size().context("no size")?, program.info()?))
    };
    let (fine, size, _) = load("fine")?;
    ensure!(
        fine.instructions_processed >= 1
            && fine.instruction_limit == 1_000_000
            && fine.verification_time_us.is_some()
            && fine.max_stack_depth().is_some(),
        "{fine:?}"
    );
    let (lengthy, longer, info) = load("lengthy")?;
    // It loops 800 times: the verifier processes each iteration.
    ensure!(
        lengthy.instructions_processed > 800 && longer.instructions < 800,
        "{lengthy:?} {longer:?}"
    );
    ensure!(
        longer.longest_function == longer.instructions && longer.instructions > size.instructions,
        "{longer:?} {size:?}"
    );
    if let Some(verified) = info.verified_instructions {
        ensure!(
            u64::from(verified) == lengthy.instructions_processed,
            "the kernel keeps {verified}, {lengthy:?}"
        );
    }
    // A refused program is verified again with the full log.
    let mut ebpf = EbpfLoader::new()
        .verifier_log_level(VerifierLogLevel::STATS)
        .load(objects::REFUSED)?;
    let load = fexit(&mut ebpf, "beyond")?.load_target(&Target::Section, &btf);
    let error = expect_error!(
        "a read beyond the arguments",
        load
            => ProgramError::LoadError { verifier_log: log, .. }
            if log.contains("0: ") && VerifierStats::parse(log).is_some()
    )?;
    ensure!(error.to_string().contains("beyond"), "{error}");
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
    // The program also runs for other processes, but does not count their calls.
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
    // Without the recursion check the program would recurse without end, so first check one that does not recurse.
    Counter::loaded(&btf)?
        .program()?
        .info()?
        .recursion_misses()?;
    let mut ebpf = Ebpf::load(objects::RECURSION)?;
    let knocker = ebpf.take_map("knocker").context("no map")?;
    let mut knocker: HashMap<_, u32, u64> = knocker.try_into()?;
    let recurses = fexit(&mut ebpf, "recurses")?;
    recurses.load_target(&Target::Section, &btf)?;
    recurses.attach()?;
    ebpf.set_global("tgid", std::process::id())?;
    for value in 0..UPDATES {
        knocker.insert(7, value, 0)?;
    }
    let calls: u64 = ebpf.global("calls")?;
    let misses = fexit(&mut ebpf, "recurses")?.info()?.recursion_misses()?;
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
