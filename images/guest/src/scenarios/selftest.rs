//! Deliberate faults: the harness must report each correctly.

use std::fs;
use std::io::{Read, Write};
use std::process;
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};
use fexit::KernelVersion;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::process::{Signal, getpid, kill_process};
use rustix::system::{RebootCommand, reboot};

use crate::scenario::{Context, scenarios, skip};
use protocol::job::{EVENT_PORT, JOB_PATH};

scenarios! {
    selftest_fail(Fexit).hidden(): "fails";
    selftest_skip(Fexit).hidden(): "skips";
    selftest_rust_panic(Fexit).hidden(): "panics, in Rust";
    selftest_backport(ManyArguments).hidden(): "passes on every kernel, also below the minimum that it claims";
    selftest_killed(Fexit).hidden(): "is killed by a signal";
    selftest_no_result(Fexit).hidden(): "exits without a result";
    selftest_flood(Fexit).hidden(): "writes a megabyte of output, then fails with a long error";
    selftest_machine(Fexit).hidden(): "reports random numbers and the time, to show that two VMs differ";
    selftest_forge(Fexit).hidden(): "tries every way of a process to report for another scenario";
    selftest_orphan(Fexit).hidden(): "leaves a child process running";
    selftest_alone(Fexit).hidden(): "finds no process of the scenarios before it";
    selftest_complaint(Fexit).hidden(): "writes a kernel warning to the console";
    selftest_log_flood(Fexit).hidden(): "overwrites the kernel's log before it can be read";
    selftest_hang(Fexit).hidden().timeout(Duration::from_secs(2)): "sleeps past its time limit";
    selftest_babble(Fexit).hidden().timeout(Duration::from_secs(3600)): "writes to the console for hours";
    selftest_report_flood(Fexit).hidden(): "writes kernel warnings to the console in an endless loop";
    selftest_panic(Fexit).hidden(): "makes the kernel panic";
    selftest_init_hang(Fexit).hidden(): "freezes /init";
    selftest_exit(Fexit).hidden(): "ends the VM before the run is done";
}

fn selftest_fail(context: &mut Context) -> Result<()> {
    context.measure("answers", 42);
    Err(anyhow::anyhow!("the cause")).context("failed on purpose")
}

fn selftest_skip(_: &mut Context) -> Result<()> {
    Err(skip("skipped on purpose"))
}

fn selftest_backport(context: &mut Context) -> Result<()> {
    context.has("a helper of the future", KernelVersion::new(u16::MAX, 0, 0));
    Ok(())
}

#[allow(clippy::panic)] // on purpose
fn selftest_rust_panic(_: &mut Context) -> Result<()> {
    panic!("panicked on purpose")
}

fn selftest_killed(_: &mut Context) -> Result<()> {
    kill_process(getpid(), Signal::KILL)?;
    bail!("survived SIGKILL")
}

fn selftest_no_result(_: &mut Context) -> Result<()> {
    process::exit(0)
}

fn selftest_flood(_: &mut Context) -> Result<()> {
    let mut stderr = std::io::stderr().lock();
    for number in 0..16 * 1024 {
        writeln!(
            stderr,
            "line {number:5} of a flood, sixty-four bytes with its line's end"
        )?;
    }
    bail!("{}", "drowned ".repeat(128 * 1024))
}

fn selftest_machine(context: &mut Context) -> Result<()> {
    let mut random = [0; 8];
    fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
    context.measure("random", format!("{:016x}", u64::from_ne_bytes(random)));
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    context.measure("boot_id", boot_id.trim());
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    context.measure("unix_s", since.as_secs());
    Ok(())
}

/// Each of these would give access to the token or to the event port.
fn selftest_forge(_: &mut Context) -> Result<()> {
    let forged = r#"{"event":"finished","scenario":"attach","outcome":"passed","duration_us":1}"#;
    let port = fs::OpenOptions::new().write(true).open(EVENT_PORT);
    if let Ok(mut port) = port {
        port.write_all(format!("{forged}\n").as_bytes())?;
        bail!("the event port is there for everybody");
    }
    let opens = |fd: u32| fs::File::open(format!("/proc/1/fd/{fd}")).is_ok();
    let (kind, mode) = (FileType::CharacterDevice, Mode::RUSR | Mode::WUSR);
    let node = mknodat(CWD, "port", kind, mode, makedev(4, 65));
    for (what, got) in [
        ("the token", fs::read_to_string(JOB_PATH)?.contains("token")),
        ("the memory of /init", fs::File::open("/proc/1/mem").is_ok()),
        ("what /init has open", (0..100).any(opens)),
        ("a new node for the port", node.is_ok()),
        ("the machine's ports", fs::File::open("/dev/port").is_ok()),
    ] {
        ensure!(!got, "it got hold of {what}");
    }
    Ok(())
}

fn selftest_orphan(_: &mut Context) -> Result<()> {
    process::Command::new("/proc/self/exe")
        .args(["scenario", "selftest_hang"])
        .spawn()?;
    Ok(())
}

/// Passes if no process of an earlier scenario is left: only process 1 and this one run.
fn selftest_alone(_: &mut Context) -> Result<()> {
    let me = process::id().to_string();
    for entry in fs::read_dir("/proc")? {
        let pid = entry?.file_name().into_string().unwrap_or_default();
        let is_process = pid.parse::<u32>().is_ok() && pid != "1" && pid != me;
        // Kernel threads have no executable, nor has a process that has just exited.
        if is_process && let Ok(program) = fs::read_link(format!("/proc/{pid}/exe")) {
            bail!("process {pid} is left: {}", program.display());
        }
    }
    Ok(())
}

/// In the log it is marked as written by user space, so it is no splat; on the console it looks like one.
fn selftest_complaint(_: &mut Context) -> Result<()> {
    Ok(fs::write(
        "/dev/kmsg",
        "<4>WARNING: CPU: 0 PID: 1 at nowhere.c:1, on purpose\n",
    )?)
}

fn selftest_report_flood(_: &mut Context) -> Result<()> {
    fs::write("/proc/sys/kernel/printk_devkmsg", "on\n").context("lift the limit on the log")?;
    let mut log = fs::OpenOptions::new().write(true).open("/dev/kmsg")?;
    loop {
        log.write_all(b"<4>WARNING: CPU: 0 PID: 1 at nowhere.c:1, on purpose\n")?;
    }
}

/// More than the log buffer holds, at a level below that of the console.
fn selftest_log_flood(_: &mut Context) -> Result<()> {
    fs::write("/proc/sys/kernel/printk_devkmsg", "on\n").context("lift the limit on the log")?;
    let mut log = fs::OpenOptions::new().write(true).open("/dev/kmsg")?;
    let line = format!("<7>{}\n", "flood ".repeat(150));
    for _ in 0..4096 {
        log.write_all(line.as_bytes())?;
    }
    Ok(())
}

fn selftest_hang(_: &mut Context) -> Result<()> {
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

fn selftest_babble(_: &mut Context) -> Result<()> {
    loop {
        fs::write("/dev/kmsg", "<4>still here\n")?;
        thread::sleep(Duration::from_secs(1));
    }
}

fn selftest_panic(_: &mut Context) -> Result<()> {
    fs::write("/proc/sysrq-trigger", "c")?;
    bail!("the kernel survived sysrq-c")
}

/// Freezes process 1 with a cgroup; no signal can stop it.
fn selftest_init_hang(context: &mut Context) -> Result<()> {
    let group = "/sys/fs/cgroup/frozen";
    fs::create_dir(group)?;
    fs::write(format!("{group}/cgroup.procs"), "1")?;
    fs::write(format!("{group}/cgroup.freeze"), "1")?;
    selftest_hang(context)
}

fn selftest_exit(_: &mut Context) -> Result<()> {
    reboot(RebootCommand::Restart)?;
    bail!("reboot(2) returned")
}
