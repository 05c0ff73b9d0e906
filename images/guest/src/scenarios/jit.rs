//! The BPF JIT, switched off.

use std::fs;

use anyhow::{Context as _, Result, bail, ensure};
use fexit::programs::{OtherProgram, ProgramError, Target};
use fexit::{Btf, Ebpf};

use super::counter::{Counter, expect};
use super::fixture::fexit;
use crate::objects;
use crate::scenario::{Context, scenarios, skip};

scenarios! {
    jit_off(Fexit):
        "with the JIT off, kernel functions are still targets; an interpreted program is not, and the error says what to do";
}

const SWITCH: &str = "/proc/sys/net/core/bpf_jit_enable";

/// Switches the JIT back on, also if the scenario fails.
struct JitGuard;

impl Drop for JitGuard {
    fn drop(&mut self) {
        let _ = fs::write(SWITCH, "1");
    }
}

fn xdp() -> Result<Ebpf> {
    let mut xdp = Ebpf::load(objects::XDP_TARGET)?;
    let program = xdp.program_mut("verdict").context("no program `verdict`")?;
    <&mut OtherProgram>::try_from(program)?.load()?;
    Ok(xdp)
}

/// Attaches a program to another program, and runs that once.
fn trace(xdp: &Ebpf) -> Result<()> {
    let mut ebpf = Ebpf::load(objects::TRACE_XDP)?;
    let target = xdp.program("verdict").context("no program `verdict`")?;
    let tracer = fexit(&mut ebpf, "on_verdict")?;
    tracer.load_target(&Target::program(target, None)?, &Btf::from_sys_fs()?)?;
    tracer.attach()?;
    target.test_run(&[0; 64])?;
    let calls: u64 = ebpf.global("calls")?;
    ensure!(calls == 1, "the program ran {calls} times, not once");
    Ok(())
}

fn refused(xdp: &Ebpf) -> Result<()> {
    let Err(error) = trace(xdp) else {
        bail!("a program that is interpreted is a target");
    };
    let refused = matches!(
        error.downcast_ref(),
        Some(ProgramError::TargetProgram { .. })
    );
    let text = error.to_string();
    ensure!(
        refused && text.contains("net.core.bpf_jit_enable=1"),
        "the way out is missing: {text}"
    );
    Ok(())
}

fn jit_off(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let compiled = xdp()?;
    let interpreted = {
        let _guard = JitGuard;
        if fs::write(SWITCH, "0").is_err() {
            return Err(skip(
                "this kernel, built with CONFIG_BPF_JIT_ALWAYS_ON, does not let its JIT be switched off",
            ));
        }
        // The program may be interpreted; its target must not be.
        let (counter, _id) = Counter::attached(&btf)?;
        expect(&[&counter.calls()], &[])?;
        trace(&compiled)?;
        let interpreted = xdp()?;
        refused(&interpreted)?;
        interpreted
    };
    let on = fs::read_to_string(SWITCH).context("reading the switch")?;
    ensure!(on.trim() == "1", "the JIT could not be switched on again");
    // Programs loaded before stay JIT-compiled.
    refused(&interpreted)?;
    trace(&xdp()?)
}
