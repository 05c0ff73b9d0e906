//! Programs of functions that ftrace traces as well.

use std::fs;
use std::path::PathBuf;
use std::process;

use anyhow::{Context as _, Result, ensure};
use fexit::Btf;

use super::counter::{Calls, Counter, FUNCTION, ROUNDS, expect};
use crate::scenario::{Context, scenarios};

scenarios! {
    beside_ftrace(Fexit): "while ftrace traces its function, a program sees every call, and so does ftrace";
}

/// A defect of kernels: while ftrace has a second user for a function, it skips the trampoline there. ftrace has one for a
/// moment also when a trampoline is replaced, as each attach and detach of another program does.
///
/// Commit 60c8971899f3 (6.4) introduced it, a8b9cf62ade1 (6.8, 6.7.6, 6.6.18) fixed it.
pub(super) const MISSED_CALLS: &str =
    "kernels of x86-64 from 6.4 to 6.6.17 and from 6.7 to 6.7.5 have this defect, see docs/faq.md";

/// ftrace's function tracer for one function, in an instance of its own.
struct Tracer(PathBuf);

impl Tracer {
    fn start(function: &str) -> Result<Self> {
        let instance = format!("/sys/kernel/tracing/instances/fexit-{}", process::id());
        fs::create_dir(&instance).with_context(|| format!("creating {instance}"))?;
        let tracer = Self(instance.into());
        tracer.write("set_ftrace_filter", function)?;
        tracer.write("current_tracer", "function")?;
        Ok(tracer)
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self.0.join(file);
        fs::write(&path, text).with_context(|| format!("writing {text} to {}", path.display()))
    }

    /// The number of calls of this process in its buffer, which is emptied.
    fn take_calls(&self) -> Result<u64> {
        let path = self.0.join("trace");
        let trace = fs::read_to_string(&path)?;
        fs::write(path, "")?;
        let process = format!("-{} ", process::id());
        let is_call = |line: &&str| line.contains(&process) && line.contains(FUNCTION);
        Ok(trace.lines().filter(is_call).count() as u64)
    }

    /// Calls the function, as [`expect`] does. The tracer must see every call too.
    fn expect(&self, firing: &[&Calls], silent: &[&Calls]) -> Result<()> {
        self.take_calls()?;
        expect(firing, silent)
            .with_context(|| format!("while ftrace traces the function ({MISSED_CALLS})"))?;
        let seen = self.take_calls()?;
        // To open its buffer is a call as well, on some kernels.
        ensure!(seen >= ROUNDS, "ftrace saw {seen} of {ROUNDS} calls");
        Ok(())
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = self.write("current_tracer", "nop");
        let _ = fs::remove_dir(&self.0);
    }
}

fn beside_ftrace(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let (mut counter, id) = Counter::attached(&btf)?;
    let calls = counter.calls();
    let tracer = Tracer::start(FUNCTION)?;
    tracer.expect(&[&calls], &[])?;
    // In the other order.
    counter.program()?.detach(id)?;
    tracer.expect(&[], &[&calls])?;
    counter.program()?.attach()?;
    tracer.expect(&[&calls], &[])?;
    drop(tracer);
    expect(&[&calls], &[])
}
