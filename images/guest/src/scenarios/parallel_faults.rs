//! Deliberate faults of scenarios that run in parallel: each must be detected there, too.

use std::fs;
use std::path::Path;
use std::process;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use fexit::{Btf, Feature};

use super::counter::Counter;
use crate::scenario::{Context, Scenario, poll_until};

pub(super) const SCENARIOS: &[Scenario] = &[
    fault("selftest_wait", "runs for three seconds", |_| {
        thread::sleep(Duration::from_secs(3));
        Ok(())
    }),
    fault(
        "selftest_crowded",
        "fails unless no other scenario runs",
        crowded,
    ),
    fault("selftest_leak", "leaks a program", |_| leak()),
    fault(
        "selftest_leak_once",
        "leaks a program, but only the first time",
        leak_once,
    ),
    fault(
        "selftest_panic_beside",
        "makes the kernel panic while others run",
        panic_beside,
    ),
    fault(
        "selftest_panic_crowded",
        "makes the kernel panic, but only if another scenario runs",
        panic_crowded,
    ),
];

const fn fault(
    id: &'static str,
    title: &'static str,
    run: fn(&mut Context) -> Result<()>,
) -> Scenario {
    Scenario::new(id, title, Feature::Fexit, run)
        .hidden()
        .parallel()
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

fn crowded(_: &mut Context) -> Result<()> {
    match poll_until("another", Duration::from_secs(1), another) {
        Ok(other) => bail!("another scenario runs: {other}"),
        Err(_) => Ok(()),
    }
}

fn leak() -> Result<()> {
    let mut counter = Counter::loaded(&Btf::from_sys_fs()?)?;
    Ok(counter
        .program()?
        .pin(format!("/sys/fs/bpf/leaked-by-{}", process::id()))?)
}

fn leak_once(_: &mut Context) -> Result<()> {
    if Path::new("ran-before").exists() {
        return Ok(());
    }
    fs::write("ran-before", "")?;
    leak()
}

fn panic_crowded(context: &mut Context) -> Result<()> {
    match poll_until("another", Duration::from_secs(1), another) {
        Ok(_) => panic_beside(context),
        Err(_) => Ok(()),
    }
}

fn panic_beside(_: &mut Context) -> Result<()> {
    thread::sleep(Duration::from_millis(300));
    fs::write("/proc/sysrq-trigger", "c")?;
    bail!("the kernel survived sysrq-c")
}
