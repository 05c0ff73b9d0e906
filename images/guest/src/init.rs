//! Process 1: mounts file systems, runs the job, reports, and ends the VM.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use guest::kallsyms;
use protocol::event::Event;
use protocol::job::{EVENT_PORT, JOB_PATH, Job, Work};
use rustix::stdio::dup2_stdin;
use rustix::system::{RebootCommand, reboot, uname};
use rustix::time::{ClockId, clock_gettime};

use crate::environment::{self, Missing};
use crate::kmsg::{KMSG, KernelLog};
use crate::port::Port;
use crate::schedule::Scheduler;
use crate::{exec, modules, perf_mlock, programs};

/// Runs the job and ends the VM, also after an error. `prepared`: the file systems are mounted already.
pub(crate) fn run(prepared: bool) -> ExitCode {
    if let Err(error) = work(prepared) {
        say(format_args!("cannot go on: {error:#}"));
    }
    end_vm()
}

fn work(prepared: bool) -> Result<()> {
    let missing = if prepared {
        Missing::default()
    } else {
        environment::prepare()?
    };
    let job = read_job();
    let token = job.as_ref().map_or("", |job| &job.token);
    let mut port = Port::open(token)?;
    // The init of a template passes it on, open, as the standard input.
    dup2_stdin(io::stdout()).context("cannot close the standard input")?;
    // Now no other process can open the port; scenarios cannot make a new device node: see `capabilities`.
    fs::remove_file(EVENT_PORT).with_context(|| format!("cannot remove {EVENT_PORT}"))?;
    let release = uname().release().to_string_lossy().into_owned();
    port.send(&Event::Ready {
        release,
        uptime_us: uptime_us(),
    })?;
    let result = job.and_then(|job| {
        let modules = job.modules.iter();
        let unloaded = modules.filter_map(|name| modules::load(name).err());
        let for_commands = missing.for_commands.into_iter();
        let for_commands = for_commands.filter(|_| matches!(job.work, Work::Command(_)));
        for message in missing
            .for_scenarios
            .into_iter()
            .chain(for_commands)
            .chain(unloaded)
        {
            port.send(&Event::Warning { message })?;
        }
        do_work(&job.work, &mut port)
    });
    if let Err(error) = &result {
        // The host may read only this port.
        port.send(&Event::CannotGoOn {
            message: format!("{error:#}"),
        })?;
    }
    port.drain()?;
    result
}

fn do_work(work: &Work, port: &mut Port) -> Result<()> {
    match work {
        Work::Scenarios {
            ids,
            timeout_s,
            serial,
            programs,
            tried,
            own_modules,
            prepare,
            trigger,
            ..
        } => {
            perf_mlock::raise_before_5_6()?;
            let mut log = KernelLog::open(KMSG);
            Scheduler::new(port, &mut log, *timeout_s).run(ids, *serial)?;
            kallsyms::remove_copy();
            let tasks = programs.iter().enumerate();
            let tasks = tasks.filter(|(index, _)| !tried.contains(index));
            let commands = (prepare.as_ref(), trigger.as_ref());
            programs::run_all(tasks, own_modules, commands, *timeout_s, &mut log, port)?;
            port.send(&Event::Done {
                scenarios: ids.len(),
            })
        }
        Work::Command(command) => {
            kallsyms::remove_copy();
            exec::run(command, port)
        }
    }
}

/// Reads the job, and removes the token from the file, so that no scenario can read it.
fn read_job() -> Result<Job> {
    let text = fs::read(JOB_PATH).with_context(|| format!("cannot read the job {JOB_PATH}"))?;
    let mut job: Job = serde_json::from_slice(&text)
        .with_context(|| format!("{JOB_PATH} does not hold a valid job"))?;
    let token = std::mem::take(&mut job.token);
    fs::write(JOB_PATH, serde_json::to_vec(&job)?)
        .with_context(|| format!("cannot write {JOB_PATH}"))?;
    job.token = token;
    Ok(job)
}

fn uptime_us() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec.unsigned_abs() * 1_000_000 + now.tv_nsec.unsigned_abs() / 1000
}

/// Writes to the console, if there is one.
fn say(message: impl Display) {
    let _ = writeln!(io::stderr(), "init: {message}");
}

/// Resets the VM through the keyboard controller.
fn reset_by_keyboard_controller() -> io::Result<()> {
    const PORT: u64 = 0x64;
    const RESET: u8 = 0xfe;
    let ports = File::options().write(true).open("/dev/port")?;
    ports.write_all_at(&[RESET], PORT)
}

/// Resets the VM through SysRq, without shutting anything down.
fn reset_by_sysrq() -> io::Result<()> {
    fs::write("/proc/sysrq-trigger", "b")
}

/// Ends the VM by a reset: QEMU runs with `-no-reboot`, and power-off would need ACPI.
fn end_vm() -> ExitCode {
    let _ = rustix::termios::tcdrain(io::stderr());
    // No orderly shutdown is needed. If both fail, reboot(2) does it.
    let _ = reset_by_keyboard_controller();
    let _ = reset_by_sysrq();
    match reboot(RebootCommand::Restart) {
        Ok(()) => say("reboot(2) returned, and the VM still runs"),
        Err(error) => say(format_args!("cannot end the VM: {error}")),
    }
    // The exit of process 1 is a kernel panic, which the host sees as well.
    ExitCode::FAILURE
}
