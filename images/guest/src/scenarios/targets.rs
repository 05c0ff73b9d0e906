//! Targets that are BPF programs.

use anyhow::{Context as _, Result, ensure};
use fexit::programs::{OtherProgram, ProgramError, Target};
use fexit::{Btf, Ebpf};

use super::counter::{Counter, expect};
use super::fixture::{attached, fexit, start};
use crate::objects;
use crate::scenario::{Context, scenarios};

scenarios! {
    section_target(Fexit).parallel(): "load without a target uses the function of the section";
    program_target(ProgramTarget).without_functions().parallel(): "an XDP program is a target, by descriptor, by reference, or by id";
    pinned_target(ProgramTarget).without_functions().parallel(): "a pinned program is a target, by its path";
    subprogram_target(ProgramTarget).without_functions().parallel():
        "static and global subprograms are targets, with their arguments and return values";
    unknown_subprogram().parallel(): "the error names an unknown subprogram, and says so if the target has no BTF";
    tracing_target(TracingTarget).parallel():
        "an fexit program can be the target of another fexit program, but not of a third";
}

/// The length of the packets in bytes, and the result of the XDP program.
const LEN: i32 = 64;
const FACTOR: i32 = LEN >> 4;
const VERDICT: i32 = (LEN - 1000) + LEN * FACTOR;

fn section_target(_: &mut Context) -> Result<()> {
    let ebpf = attached(objects::FILENAME_LOOKUP, "filename_lookup")?;
    start(&ebpf)?;
    super::counter::look_up()?;
    ensure!(
        ebpf.global::<u64>("calls")? == 1,
        "the program did not run once"
    );

    let mut counter = Counter::parsed()?;
    let btf = Btf::from_sys_fs()?;
    let load = counter.program()?.load_target(&Target::Section, &btf);
    let error = expect_error!("load for a section without a target", load => ProgramError::NoTarget { .. })?;
    ensure!(
        error.to_string().contains("`fexit`"),
        "the error does not name the section: {error}"
    );
    Ok(())
}

/// The XDP program, loaded.
fn xdp() -> Result<Ebpf> {
    let mut ebpf = Ebpf::load(objects::XDP_TARGET)?;
    let program = ebpf
        .program_mut("verdict")
        .context("no program `verdict`")?;
    <&mut OtherProgram>::try_from(program)?.load()?;
    Ok(ebpf)
}

/// Runs the XDP program once on a packet of [`LEN`] bytes.
fn run(xdp: &Ebpf) -> Result<()> {
    let program = xdp.program("verdict").context("no program `verdict`")?;
    let verdict = program
        .test_run(&[0; LEN as usize])?
        .return_value
        .cast_signed();
    ensure!(
        verdict == VERDICT,
        "the XDP program returned {verdict}, not {VERDICT}"
    );
    Ok(())
}

fn program_target(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let xdp = xdp()?;
    let program = xdp.program("verdict").context("no program")?;
    let id = <&OtherProgram>::try_from(program)?.info()?.id;
    for (way, target) in [
        (
            "descriptor",
            Target::Program {
                fd: program.fd()?,
                function: None,
            },
        ),
        ("program", Target::program(program, None)?),
        ("id", Target::program_id(id, None)?),
        ("name", Target::program(program, Some("verdict"))?),
    ] {
        let mut ebpf = Ebpf::load(objects::TRACE_XDP)?;
        fexit(&mut ebpf, "on_verdict")?.load_target(&target, &btf)?;
        run(&xdp)?;
        ensure!(
            ebpf.global::<u64>("calls")? == 0,
            "by {way}: the program ran before attach"
        );
        let link = fexit(&mut ebpf, "on_verdict")?.attach()?;
        run(&xdp)?;
        let seen = (
            ebpf.global::<u64>("calls")?,
            ebpf.global::<i32>("seen_ret")?,
        );
        ensure!(
            seen == (1, VERDICT),
            "by {way}: calls and result were {seen:?}"
        );
        fexit(&mut ebpf, "on_verdict")?.detach(link)?;
        run(&xdp)?;
        ensure!(
            ebpf.global::<u64>("calls")? == 1,
            "by {way}: the program ran after detach"
        );
    }
    Ok(())
}

fn pinned_target(_: &mut Context) -> Result<()> {
    const NAME: &str = "/sys/fs/bpf/pinned_target";
    let btf = Btf::from_sys_fs()?;
    let xdp = xdp()?;
    <&OtherProgram>::try_from(xdp.program("verdict").context("no program")?)?.pin(NAME)?;
    let target = Target::pinned(NAME, None);
    std::fs::remove_file(NAME)?;
    let mut ebpf = Ebpf::load(objects::TRACE_XDP)?;
    let on_verdict = fexit(&mut ebpf, "on_verdict")?;
    on_verdict.load_target(&target?, &btf)?;
    on_verdict.attach()?;
    run(&xdp)?;
    ensure!(
        ebpf.global::<u64>("calls")? == 1,
        "the program did not run once"
    );
    let error = expect_error!("a name that is gone", Target::pinned(NAME, None) => ProgramError::Pin { .. })?;
    ensure!(error.to_string().contains(NAME), "{error}");
    Ok(())
}

fn subprogram_target(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let xdp = xdp()?;
    let mut ebpf = Ebpf::load(objects::TRACE_XDP)?;
    let program = xdp.program("verdict").context("no program")?;
    for (name, function, factor, ret) in [
        ("on_shifted", "shifted", 0, LEN - 1000),
        ("on_scaled", "scaled", FACTOR, LEN * FACTOR),
    ] {
        let tracer = fexit(&mut ebpf, name)?;
        tracer.load_target(&Target::program(program, Some(function))?, &btf)?;
        let link = tracer.attach()?;
        let before: u64 = ebpf.global("calls")?;
        run(&xdp)?;
        let calls = ebpf.global::<u64>("calls")? - before;
        ensure!(
            calls == 1,
            "{function}: the program ran {calls} times, not once"
        );
        let seen: [i32; 3] = [
            ebpf.global("seen_len")?,
            ebpf.global("seen_factor")?,
            ebpf.global("seen_ret")?,
        ];
        ensure!(
            seen == [LEN, factor, ret],
            "{function}: the program saw {seen:?}"
        );
        fexit(&mut ebpf, name)?.detach(link)?;
    }
    Ok(())
}

fn unknown_subprogram(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let xdp = xdp()?;
    let mut ebpf = Ebpf::load(objects::TRACE_XDP)?;
    let target = Target::program(
        xdp.program("verdict").context("no program")?,
        Some("scalded"),
    )?;
    let load = fexit(&mut ebpf, "on_scaled")?.load_target(&target, &btf);
    let error = expect_error!("load for a subprogram that does not exist", load => ProgramError::TargetProgram { .. })?;
    let text = error.to_string();
    let named = ["`scalded`", "scaled", "shifted"]
        .iter()
        .all(|name| text.contains(name));
    ensure!(
        named,
        "the error does not name the subprogram and those that are there: {text}"
    );

    // The same program, from an object without BTF.
    let mut bytes = objects::XDP_TARGET.to_vec();
    while let Some(at) = bytes.windows(4).position(|name| name == b".BTF") {
        bytes[at + 1] = b'X';
    }
    let mut bare = Ebpf::load(&bytes)?;
    let program = bare.program_mut("verdict").context("no program")?;
    <&mut OtherProgram>::try_from(&mut *program)?.load()?;
    let load = fexit(&mut ebpf, "on_verdict")?.load_target(&Target::program(program, None)?, &btf);
    let error = expect_error!("a target without BTF", load => ProgramError::TargetProgram { .. })?;
    ensure!(error.to_string().contains("clang -g"), "{error}");

    let mut not_loaded = Ebpf::load(objects::XDP_TARGET)?;
    let program = not_loaded.program_mut("verdict").context("no program")?;
    expect_error!("a target that is not loaded", Target::program(program, None) => ProgramError::NotLoaded)?;
    expect_error!("an id that nothing has", Target::program_id(u32::MAX, None) => ProgramError::TargetProgram { .. })?;
    Ok(())
}

fn tracing_target(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let (mut inner, _id) = Counter::attached(&btf)?;
    let mut outer = Counter::parsed()?;
    let fd = inner.program()?.fd()?.try_clone_to_owned()?;
    outer
        .program()?
        .load_target(&Target::OwnedProgram { fd, function: None }, &btf)?;
    expect(&[&inner.calls()], &[&outer.calls()])?;
    outer.program()?.attach()?;
    // Each lookup runs the inner program, which runs the outer one.
    expect(&[&inner.calls(), &outer.calls()], &[])?;
    let fd = outer.program()?.fd()?.try_clone_to_owned()?;
    let third = Target::OwnedProgram { fd, function: None };
    let load = Counter::parsed()?.program()?.load_target(&third, &btf);
    let error = expect_error!("a third level", load => ProgramError::TargetRefused { .. })?;
    ensure!(
        error.to_string().contains("one level is allowed"),
        "the reason is missing: {error}"
    );
    outer.program()?.unload()?;
    expect(&[&inner.calls()], &[&outer.calls()])?;
    ensure!(
        inner.program()?.info()?.name == "count_calls",
        "the inner program is gone"
    );
    Ok(())
}
