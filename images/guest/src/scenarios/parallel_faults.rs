//! Deliberate faults of scenarios that run in parallel: each must be detected there, too.

use std::fs;
use std::path::Path;
use std::process;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use fexit::Btf;

use super::counter::Counter;
use crate::scenario::{Context, poll_until, scenarios};

scenarios! {
    selftest_wait(Fexit).hidden().parallel(): "runs for three seconds";
    selftest_crowded(Fexit).hidden().parallel(): "fails unless no other scenario runs";
    selftest_pin(Fexit).hidden().parallel(): "fails with a pin unless no other scenario runs";
    selftest_leak(Fexit).hidden().parallel(): "leaks a program";
    selftest_leak_once(Fexit).hidden().parallel(): "leaks a program, but only the first time";
    selftest_panic_beside(Fexit).hidden().parallel(): "makes the kernel panic while others run";
    selftest_panic_crowded(Fexit).hidden().parallel(): "makes the kernel panic, but only if another scenario runs";
}

/// The command line of another process that runs a scenario.
fn another() -> Result<Option<String>> {
    let me = process::id().to_string();
    for entry in fs::read_dir("/proc")? {
        let pid = entry?.file_name().into_string().unwrap_or_default();
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut arguments = command.split(|byte| *byte == 0);
        if pid != "self"
            && pid != "thread-self"
            && pid != me
            && arguments.nth(1) == Some(b"scenario")
        {
            return Ok(Some(String::from_utf8_lossy(&command).replace('\0', " ")));
        }
    }
    Ok(None)
}

fn selftest_crowded(_: &mut Context) -> Result<()> {
    match poll_until("another", Duration::from_secs(1), another) {
        Ok(other) => bail!("another scenario runs: {other}"),
        Err(_) => Ok(()),
    }
}

fn selftest_pin(context: &mut Context) -> Result<()> {
    let path = "/sys/fs/bpf/selftest_pin";
    let mut counter = Counter::loaded(&Btf::from_sys_fs()?)?;
    counter.program()?.pin(path)?;
    selftest_crowded(context)?;
    Ok(fs::remove_file(path)?)
}

fn selftest_wait(_: &mut Context) -> Result<()> {
    thread::sleep(Duration::from_secs(3));
    Ok(())
}

fn selftest_leak(_: &mut Context) -> Result<()> {
    let mut counter = Counter::loaded(&Btf::from_sys_fs()?)?;
    Ok(counter
        .program()?
        .pin(format!("/sys/fs/bpf/leaked-by-{}", process::id()))?)
}

fn selftest_leak_once(context: &mut Context) -> Result<()> {
    if Path::new("ran-before").exists() {
        return Ok(());
    }
    fs::write("ran-before", "")?;
    selftest_leak(context)
}

fn selftest_panic_crowded(context: &mut Context) -> Result<()> {
    match poll_until("another", Duration::from_secs(1), another) {
        Ok(_) => selftest_panic_beside(context),
        Err(_) => Ok(()),
    }
}

fn selftest_panic_beside(_: &mut Context) -> Result<()> {
    thread::sleep(Duration::from_millis(300));
    fs::write("/proc/sysrq-trigger", "c")?;
    bail!("the kernel survived sysrq-c")
}
